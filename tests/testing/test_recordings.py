"""The recordings: all there, untouched, and read right."""

from __future__ import annotations

import hashlib
import json
from importlib import resources

import pytest

from ollama_ext.errors import InvalidArgument
from ollama_ext.testing import VERSIONS, Recording, recordings

# Over every file, sorted by version and name: "<version>/<file name>", a zero byte, the content, a
# zero byte. It changes only when recordings are added.
FINGERPRINT = "55f2aee923557c8874ca99fc8f2fc0924e9a0675454d212b2cf9b6bc070702ea"


def test_every_recording_is_byte_for_byte_what_was_recorded() -> None:
    root = resources.files("ollama_ext.testing") / "recordings"
    digest = hashlib.sha256()
    for version in sorted(VERSIONS):
        files = sorted((root / version).iterdir(), key=lambda entry: entry.name)
        for file in files:
            digest.update(f"{version}/{file.name}".encode() + b"\0" + file.read_bytes() + b"\0")
    assert digest.hexdigest() == FINGERPRINT


def test_there_are_200_recordings_in_three_versions() -> None:
    assert {each: len(recordings(each)) for each in VERSIONS} == {
        "v0.33.0-rc2": 128,
        "v0.24.0": 36,
        "v0.9.6": 36,
    }
    assert len(recordings()) == 200


def test_the_folder_of_the_recordings_describes_their_format() -> None:
    text = (resources.files("ollama_ext.testing") / "recordings" / "README.md").read_text()
    assert "clean_end" in text


@pytest.mark.parametrize("version", VERSIONS)
def test_the_value_holds_what_the_file_says(version: str) -> None:
    folder = resources.files("ollama_ext.testing") / "recordings" / version
    for exchange in recordings(version):
        file = json.loads((folder / f"{exchange.name}.json").read_bytes())
        assert exchange.version == version
        assert exchange.request.method == file["request"]["method"]
        assert exchange.request.path == file["request"]["path"]
        assert dict(exchange.request.headers) == file["request"]["headers"]
        answer = exchange.response
        assert answer.status == file["response"]["status"]
        assert [list(pair) for pair in answer.headers] == file["response"]["headers"]
        assert [[each.milliseconds, each.data.decode()] for each in answer.chunks] == file["response"][
            "chunks"
        ]
        assert answer.first_byte_ms == file["response"]["first_byte_ms"]
        assert answer.clean_end == file["response"]["clean_end"]


def test_a_json_request_body_is_there_as_a_value_and_as_bytes() -> None:
    request = Recording("chat-stream").exchange.request
    assert request.json()["model"] == "smollm2:135m"
    assert request.body is not None
    assert request.body_size == len(request.body)
    assert request.body_sha256 == hashlib.sha256(request.body).hexdigest()


def test_a_request_body_that_is_no_json_is_there_as_bytes() -> None:
    assert Recording("chat-bad-json").exchange.request.body == b'{"model": "smollm2:135m", "messages": ['
    with pytest.raises(ValueError, match="not JSON"):
        Recording("chat-bad-json").exchange.request.json()


def test_of_a_large_upload_size_and_hash_are_there() -> None:
    request = Recording("blob-push-created").exchange.request
    assert request.body is None
    assert request.body_size == 98362432
    assert request.path == f"/api/blobs/sha256:{request.body_sha256}"


def test_a_stream_is_there_line_by_line() -> None:
    answer = Recording("chat-stream-tools").exchange.response
    assert answer.chunked
    assert answer.content_type == "application/x-ndjson"
    assert [line["done"] for line in answer.lines()] == [False, True]


def test_a_plain_reply_is_there_as_json() -> None:
    assert Recording("version").exchange.response.json() == {"version": "0.33.0-rc2"}


def test_an_unknown_recording_names_close_matches() -> None:
    with pytest.raises(InvalidArgument, match=r"'chat-steam'.*close matches: chat-stream") as caught:
        Recording("chat-steam")
    assert caught.value.argument == "name"


def test_a_recording_of_another_version_says_which() -> None:
    with pytest.raises(InvalidArgument, match=r"it is recorded for v0\.33\.0-rc2"):
        Recording("chat-unload", "v0.9.6")


@pytest.mark.parametrize("version", ["0.33", "v0.33.0", "", None, 3])
def test_an_unknown_version_names_the_known_ones(version: str) -> None:
    with pytest.raises(InvalidArgument, match=r"v0\.33\.0-rc2, v0\.24\.0, v0\.9\.6") as caught:
        Recording("chat-stream", version)
    assert caught.value.argument == "version"
