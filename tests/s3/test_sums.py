"""Sums: one reading gives what hashlib gives, and only what the server has proven proves anything."""

from __future__ import annotations

import hashlib
import tempfile
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ollama_ext.s3 import sums
from ollama_ext.s3.bucket_objects import ObjectInfo
from ollama_ext.s3.sums import Sums, add_up, needs_md5, proven

if TYPE_CHECKING:
    from pathlib import Path


def md5(content: bytes) -> Any:
    return hashlib.md5(content, usedforsecurity=False)


def sums_of(content: bytes, part_size: int, *, with_md5: bool = True, size: int | None = None) -> Sums:
    pieces: list[int] = []
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        found = add_up(
            file.fileno(),
            len(content) if size is None else size,
            part_size=part_size,
            with_md5=with_md5,
            on_piece=pieces.append,
        )
    assert sum(pieces) == min(len(content), len(content) if size is None else size)
    return found


@given(st.binary(max_size=60), st.integers(1, 40), st.integers(1, 16))
@example(bytes(range(40)), 10, 4)
@example(bytes(range(40)), 40, 16)
@example(b"", 10, 4)
def test_the_sums_are_those_of_hashlib_whatever_the_parts(content: bytes, part_size: int, piece: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sums, "_PIECE", piece)
        found = sums_of(content, part_size)
    parts = [md5(content[start : start + part_size]).digest() for start in range(0, len(content), part_size)]
    assert found == Sums(
        digest=f"sha256:{hashlib.sha256(content).hexdigest()}",
        crc32=zlib.crc32(content),
        md5=md5(content).hexdigest(),
        parts_md5=md5(b"".join(parts)).hexdigest(),
    )


def test_a_blob_of_many_pieces_is_added_up_whole() -> None:
    content = bytes(range(256)) * 4099  # a little over 1 MiB
    found = sums_of(content, 512 << 10)
    assert found.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert found.crc32 == zlib.crc32(content)


def test_md5_is_added_up_only_where_it_is_wanted() -> None:
    found = sums_of(b"content", 4, with_md5=False)
    assert (found.md5, found.parts_md5) == ("", "")
    assert found.crc32 == zlib.crc32(b"content")


def test_only_as_much_is_read_as_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for piece in (1, 3, 100):
        monkeypatch.setattr(sums, "_PIECE", piece)
        for size in range(11):
            assert sums_of(b"0123456789", 100, size=size) == sums_of(b"0123456789"[:size], 100)


def test_a_file_that_became_shorter_is_another_blob() -> None:
    found = sums_of(b"0123", 100, size=10)
    assert found.digest == f"sha256:{hashlib.sha256(b'0123').hexdigest()}"


def test_what_a_listener_raises_ends_the_reading(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"content")

    def stop(_: int) -> None:
        raise KeyError

    with (tmp_path / "x").open("rb") as file, pytest.raises(KeyError):
        add_up(file.fileno(), 7, part_size=7, with_md5=False, on_piece=stop)


# -- what proves a blob

CONTENT = b"content"
SUMS = sums_of(CONTENT, 4)
OTHER = sums_of(b"another", 4)


def told(**known: Any) -> ObjectInfo:
    made: dict[str, Any] = {"key": "x", "size": 7, "etag": "", "modified": datetime.now(UTC)}
    return ObjectInfo(**(made | known))


@pytest.mark.parametrize(
    ("known", "verdict"),
    [
        ({"sha256": SUMS.digest.removeprefix("sha256:")}, True),
        ({"sha256": OTHER.digest.removeprefix("sha256:")}, False),
        ({"crc32": SUMS.crc32}, True),
        ({"crc32": OTHER.crc32}, False),
        ({"crc32": 0}, False),
        ({"etag": SUMS.md5}, True),
        ({"etag": OTHER.md5}, False),
        ({"etag": f"{SUMS.parts_md5}-2"}, True),
        ({"etag": f"{OTHER.parts_md5}-2"}, False),
        ({"etag": SUMS.parts_md5}, False),  # an MD5 of parts is none of the whole
        ({"etag": f"{SUMS.md5}-2"}, False),
        ({"etag": ""}, False),
        ({"etag": "-2"}, False),
        ({}, False),
        # The strongest that the server has proven counts, and no weaker one in its place.
        ({"sha256": SUMS.digest.removeprefix("sha256:"), "crc32": 1, "etag": "x"}, True),
        ({"sha256": OTHER.digest.removeprefix("sha256:"), "crc32": SUMS.crc32, "etag": SUMS.md5}, False),
        ({"crc32": OTHER.crc32, "etag": SUMS.md5}, False),
        ({"crc32": SUMS.crc32, "etag": "x"}, True),
        # Bytes that S3 was told, and did not look at, prove nothing.
        ({"metadata": {"sha256": SUMS.digest}}, False),
        # And another size never fits.
        ({"size": 8, "sha256": SUMS.digest.removeprefix("sha256:")}, False),
        ({"size": 6, "crc32": SUMS.crc32, "etag": SUMS.md5}, False),
    ],
)
def test_a_blob_is_proven_by_the_right_sums_only(known: dict[str, Any], verdict: bool) -> None:
    assert proven(told(**known), SUMS, 7) is verdict


@pytest.mark.parametrize("etag", [SUMS.md5, f"{SUMS.parts_md5}-2", "", "-", "-2"])
def test_sums_without_md5_prove_nothing_by_an_entity_tag(etag: str) -> None:
    assert not proven(told(etag=etag), sums_of(CONTENT, 4, with_md5=False), 7)


def test_md5_is_needed_only_where_there_is_nothing_better() -> None:
    assert needs_md5(told(etag="x"))
    assert not needs_md5(told(etag="x", crc32=0))
    assert not needs_md5(told(etag="x", sha256="0" * 64))
    assert not needs_md5(None)
