"""Names and keys that lead elsewhere, or that two readers would take for two things, are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import pytest
from model_stores import manifest_at
from s3_faults import Body

from ollama_ext.s3 import BucketAnswerRefused, Mirror, NameRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faulty_s3 import FaultyFront
    from guarded_stores import GuardedStore
    from hostile_buckets import HostileBucket


NFC, NFD = "mod\u00e8le", "mode\u0300le"

NAMES = {
    "traversal to the root": "../../etc/cron.d/x",
    "traversal in the middle": "registry.ollama.ai/library/../../x",
    "absolute path": "/etc/passwd",
    "tag of two dots": "m:..",
    "tag of one dot": "m:.",
    "model of two dots": "..",
    "slash in the tag": "m:a/b",
    "backslash in the tag": "m:a\\b",
    "backslash in the model": "..\\..\\x",
    "tag that begins with a dash": "m:-rf",
    "tag that begins with a dot": "m:.hidden",
    "model that begins with a dash": "-rf",
    "model that begins with a dot": ".ollama-ext-staging",
    "tag of 81 characters": f"m:{'t' * 81}",
    "NUL in the model": "m\0x",
    "line break in the model": "m\nx",
    "escape in the tag": "m:\x1b[2J",
    "percent-encoded slashes": "a%2f..%2fb",
    "Cyrillic letter that looks Latin": "m\u0456stral",
    "accent, composed": NFC,
    "accent, decomposed": NFD,
    "fullwidth dots": "\uff0e\uff0e/\uff0e\uff0e/x",
    "dot in the namespace": "a.b/m",
    "user in the host": "user@host.example/ns/m",
    "empty host": "/ns/m",
    "five levels": "a/b/c/d/e",
    "empty": "",
    "only a tag": ":latest",
}

KEYS = {
    "traversal to the root": "registry.ollama.ai/library/../../x/latest",
    "traversal to blobs": "../blobs/x/latest",
    "model of two dots": "registry.ollama.ai/library/../latest",
    "tag of two dots": "registry.ollama.ai/library/m/..",
    "tag of one dot": "registry.ollama.ai/library/m/.",
    "backslash": "registry.ollama.ai/library/m/a\\b",
    "tag that begins with a dash": "registry.ollama.ai/library/m/-rf",
    "model that begins with a dot": "registry.ollama.ai/library/.m/latest",
    "tag of 81 characters": f"registry.ollama.ai/library/m/{'t' * 81}",
    "control character": "registry.ollama.ai/library/m\x01/latest",
    "percent-encoded slashes": "registry.ollama.ai/library/a%2f..%2fb/latest",
    "Cyrillic letter that looks Latin": "registry.ollama.ai/library/m\u0456stral/latest",
    "accent, composed": f"registry.ollama.ai/library/{NFC}/latest",
    "accent, decomposed": f"registry.ollama.ai/library/{NFD}/latest",
    "dot in the namespace": "registry.ollama.ai/a.b/m/latest",
    "user in the host": "user@host.example/ns/m/latest",
    "empty host": "/library/m/latest",
    "empty model": "registry.ollama.ai/library//latest",
    "three levels": "registry.ollama.ai/library/latest",
    "five levels": "registry.ollama.ai/library/m/latest/x",
    "something in a directory marker": "registry.ollama.ai/library/m/",
}


def page(*paths: str, following: str = "", truncated: bool | None = None, encoding: str = "") -> Body:
    """Return a page of a listing, with manifests at these paths."""
    contents = "".join(
        f"<Contents><Key>{escape(f'ollama/models/manifests/{path}')}</Key><Size>500</Size>"
        "<LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>&quot;e&quot;</ETag></Contents>"
        for path in paths
    )
    token = f"<NextContinuationToken>{following}</NextContinuationToken>" if following else ""
    more = str(bool(following) if truncated is None else truncated).lower()
    return Body(
        '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>b</Name><IsTruncated>{more}</IsTruncated>{token}{encoding}{contents}"
        "</ListBucketResult>".encode()
    )


def names(models: Sequence[object]) -> list[str]:
    return [getattr(model, "name", "") for model in models]


# -- names that a caller gives


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_bad_name_is_refused_before_anything_is_sent(
    name: str, mirror_of: Callable[..., Mirror], front: FaultyFront, guarded: GuardedStore
) -> None:
    mirror = mirror_of(guarded.path, url=front.url)
    for method in (mirror.import_model, mirror.publish_model, mirror.verify_model, mirror.diff):
        with guarded.refuses(NameRefused, repr(name), "write "):
            method(name)
    assert front.requests == []


def test_a_bad_name_is_the_result_of_its_own_in_a_list_of_names(
    mirror_of: Callable[..., Mirror], hostile: HostileBucket, guarded: GuardedStore
) -> None:
    hostile.put_model("good", [b"good"])
    results = mirror_of(guarded.path).import_models(["../x", "good", "m:.."])
    assert [type(result.error) for result in results] == [NameRefused, type(None), NameRefused]
    assert [result.model for result in results] == ["../x", "good:latest", "m:.."]


# -- keys that a bucket holds


@pytest.mark.parametrize("path", KEYS.values(), ids=KEYS)
def test_a_bad_key_is_told_and_not_listed(
    path: str, mirror_of: Callable[..., Mirror], hostile: HostileBucket, guarded: GuardedStore
) -> None:
    hostile.put_model("good", [b"good"])
    hostile.put_manifest(path, b"{}")
    mirror = mirror_of(guarded.path)
    for details in (False, True):
        listing = mirror.list_models(details=details)
        assert names(listing) == ["good:latest"]
        (refusal,) = listing.refused
        assert refusal.path == f"ollama/models/manifests/{path}"
        assert "manifest" in refusal.reason
    guarded.assert_untouched()


@pytest.mark.parametrize("character", ["\0", "\n", "\x1b"], ids=["NUL", "line break", "escape"])
def test_a_key_that_no_xml_can_hold_is_told_and_not_listed(
    character: str, mirror_of: Callable[..., Mirror], front: FaultyFront, guarded: GuardedStore
) -> None:
    encoding = "<EncodingType>url</EncodingType>"
    front.fail(page(f"h/n/m%{ord(character):02x}x/t", "h/n/m/t", encoding=encoding))
    listing = mirror_of(guarded.path, url=front.url).list_models()
    assert names(listing) == ["h/n/m:t"]
    (refusal,) = listing.refused
    assert refusal.path == f"ollama/models/manifests/h/n/m{character}x/t"
    assert character not in refusal.reason  # it may be shown on a terminal


def test_keys_are_decoded_once(
    mirror_of: Callable[..., Mirror], front: FaultyFront, guarded: GuardedStore
) -> None:
    front.fail(page("h/n/a%252fb/t", "h/n/m%2Et/t", encoding="<EncodingType>url</EncodingType>"))
    listing = mirror_of(guarded.path, url=front.url).list_models()
    assert names(listing) == ["h/n/m.t:t"]
    assert [each.path for each in listing.refused] == ["ollama/models/manifests/h/n/a%2fb/t"]


def test_directory_markers_are_no_models_and_no_problem(
    mirror_of: Callable[..., Mirror], hostile: HostileBucket, guarded: GuardedStore
) -> None:
    hostile.put_model("good", [b"good"])
    for marker in ("", "registry.ollama.ai/", "registry.ollama.ai/library/good/"):
        hostile.put_manifest(marker, b"")
    listing = mirror_of(guarded.path).list_models()
    assert (names(listing), listing.refused) == (["good:latest"], ())


def test_a_key_that_is_the_directory_of_a_model_as_well_harms_nothing(
    mirror_of: Callable[..., Mirror], hostile: HostileBucket, guarded: GuardedStore
) -> None:
    hostile.put_model("good", [b"good"])
    hostile.put_manifest("registry.ollama.ai/library/good", b"not a directory")
    mirror = mirror_of(guarded.path)
    listing = mirror.list_models()
    assert names(listing) == ["good:latest"]
    assert [each.path for each in listing.refused] == [
        "ollama/models/manifests/registry.ollama.ai/library/good"
    ]
    assert mirror.import_model("good").ok
    assert mirror.verify_model("good").ok


# -- names that differ in upper and lower case only


def test_models_of_a_bucket_that_differ_in_case_only_are_told_and_not_listed(
    mirror_of: Callable[..., Mirror], hostile: HostileBucket, guarded: GuardedStore
) -> None:
    for name in ("mistral", "Mistral", "other"):
        hostile.put_model(name, [b"layer of " + name.encode()])
    listing = mirror_of(guarded.path).list_models()
    assert names(listing) == ["other:latest"]
    assert [each.path.split("/")[-2] for each in listing.refused] == ["Mistral", "mistral"]
    assert all("upper and lower case" in each.reason for each in listing.refused)


@pytest.mark.parametrize(
    "name", ["Old", "old:LATEST", "Library/old", "Registry.Ollama.AI/library/old"], ids=lambda name: name
)
def test_a_model_is_not_imported_beside_one_that_differs_in_case_only(
    name: str, mirror_of: Callable[..., Mirror], hostile: HostileBucket, guarded: GuardedStore
) -> None:
    hostile.put_model(name, [b"impostor"])
    with guarded.refuses(NameRefused, "upper and lower case", str(guarded.path)):
        mirror_of(guarded.path).import_model(name)


def test_of_two_models_that_differ_in_case_only_one_is_imported(
    mirror_of: Callable[..., Mirror], hostile: HostileBucket, guarded: GuardedStore
) -> None:
    for name in ("mistral", "Mistral"):
        hostile.put_model(name, [b"layer of " + name.encode()])
    results = mirror_of(guarded.path).import_models(["mistral", "Mistral"])
    assert sorted(type(result.error).__name__ for result in results) == ["NameRefused", "NoneType"]
    there = [manifest_at(guarded.path, name).exists() for name in ("mistral", "Mistral")]
    assert there == [result.ok for result in results]


# -- listings


def test_2500_models_are_listed_with_three_requests(
    mirror_of: Callable[..., Mirror], front: FaultyFront, guarded: GuardedStore
) -> None:
    paths = [f"h/n/m{number:04}/t" for number in range(2500)]
    front.fail(page(*paths[:1000], following="one"))
    front.fail(page(*paths[1000:2000], following="two"))
    front.fail(page(*paths[2000:]))
    listing = mirror_of(guarded.path, url=front.url).list_models()
    assert names(listing) == [f"h/n/m{number:04}:t" for number in range(2500)]
    asked = [each.query for each in front.requests]
    assert ["continuation-token" in query for query in asked] == [False, True, True]
    assert "continuation-token=two" in asked[2]


@pytest.mark.parametrize(
    "pages",
    [
        [page("h/n/m/t", following="same")] * 9,
        [page("h/n/m/t", following="a"), page("h/n/m/t", following="b")] * 5,
        [page("h/n/m/t", truncated=True)],
    ],
    ids=["the same token for ever", "two tokens in turn", "truncated without a token"],
)
def test_a_listing_that_never_ends_is_refused(
    pages: list[Body], mirror_of: Callable[..., Mirror], front: FaultyFront, guarded: GuardedStore
) -> None:
    for each in pages:
        front.fail(each)
    with guarded.refuses(BucketAnswerRefused, "never ends", "manifests/"):
        mirror_of(guarded.path, url=front.url).list_models()
    assert len(front.requests) <= 3


def test_a_listing_of_ever_new_tokens_is_refused(
    mirror_of: Callable[..., Mirror],
    front: FaultyFront,
    guarded: GuardedStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ollama_ext.s3.bucket._PAGES", 5)
    for number in range(20):
        front.fail(page("h/n/m/t", following=f"token-{number}"))
    with guarded.refuses(BucketAnswerRefused, "manifests/"):
        mirror_of(guarded.path, url=front.url).list_models()
    assert len(front.requests) < 10


LISTINGS = {
    "XHTML page of a portal": b"<html><body>Please sign in.</body></html>",
    "empty XML": b"<ListBucketResult/>",
    "size that is no number": page("h/n/m/t").content.replace(b"<Size>500", b"<Size>many"),
    "no size": page("h/n/m/t").content.replace(b"<Size>500</Size>", b""),
    "time that is no time": page("h/n/m/t").content.replace(b"2026-01-02T03:04:05.000Z", b"once"),
    "no time": page("h/n/m/t").content.replace(b"<LastModified>2026-01-02T03:04:05.000Z</LastModified>", b""),
    "no key": page("h/n/m/t").content.replace(b"<Key>ollama/models/manifests/h/n/m/t</Key>", b""),
}


@pytest.mark.parametrize("content", LISTINGS.values(), ids=LISTINGS)
def test_an_answer_that_is_no_listing_is_refused_and_not_an_empty_bucket(
    content: bytes, mirror_of: Callable[..., Mirror], front: FaultyFront, guarded: GuardedStore
) -> None:
    front.fail(Body(content), times=None)
    mirror = mirror_of(guarded.path, url=front.url)
    for method in (mirror.list_models, mirror.prune_bucket):
        with guarded.refuses(BucketAnswerRefused, "check the endpoint"):
            method()
    assert {each.method for each in front.requests} == {"GET"}
