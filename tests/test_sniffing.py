"""Kinds of content: the same judgement as Go's, by which Ollama's client chooses files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_ext.sniffing import SNIFFED, content_type

# What Go 1.26 says.
SEEN_IN_GO = [
    (b"", "text/plain"),
    (b'{"a": 1}\n', "text/plain"),
    (b"\x1b[0m \x7f\x80\xff\n\r\f\t", "text/plain"),
    (b"version https://git-lfs.github.com/spec/v1\n", "text/plain"),
    (b"\x00", "application/octet-stream"),
    (b"text\x0b", "application/octet-stream"),
    (b"GGUF\x03\x00\x00\x00", "application/octet-stream"),
    (b"\n\x0e\n\x05<unk>", "application/octet-stream"),
    (b"PK\x03\x04", "application/zip"),
    (b" PK\x03\x04", "application/octet-stream"),
    (b"\xef\xbb\xbf\x00", "text/plain"),
    (b"\xef\xbb\xbf", "text/plain"),
    (b"\xfe\xff\x00{", "text/plain"),
    (b"\xff\xfe\x00", "application/octet-stream"),
    (b"\xff\xfe{\x00", "text/plain"),
    (b"\n <hTmL>", "text/html"),
    (b"<html", "text/plain"),
    (b"<!-- ", "text/html"),
    (b"<brx>", "text/plain"),
    (b"\t<?xml", "text/xml"),
    (b"<?XML", "text/plain"),
    (b"%PDF-1.7", "application/pdf"),
    (b"%!PS-Adobe-3.0", "application/postscript"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"\x00\x00\x02\x00", "image/x-icon"),
    (b"BM", "image/bmp"),
    (b"GIF89a", "image/gif"),
    (b"GIF88a", "text/plain"),
    (b"RIFF\n\x00\x00\x00WEBPVP8 ", "image/webp"),
    (b"RIFF\n\n\n\nAVI ", "video/avi"),
    (b"RIFF\n\n\n\nWAVE", "audio/wave"),
    (b"FORM\n\n\n\nAIFF", "audio/aiff"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"ID3", "audio/mpeg"),
    (b"OggS\x00", "application/ogg"),
    (b"MThd\x00\x00\x00\x06", "audio/midi"),
    (b"\x00\x00\x00\x10ftypmp42\x00\x00\x00\x00", "video/mp4"),
    (b"\x00\x00\x00\x14ftypisom\x00\x00\x02\x00mp41", "video/mp4"),
    (b"\x00\x00\x00\x10ftypisommp41", "application/octet-stream"),
    (b"\x00\x00\x00\x14ftypmp42", "application/octet-stream"),
    (b"\x00\x00\x00\x0dftypmp42mp42", "application/octet-stream"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"\x00" * 34 + b"LP", "application/vnd.ms-fontobject"),
    (b"\x00\x01\x00\x00", "font/ttf"),
    (b"OTTO", "font/otf"),
    (b"ttcf", "font/collection"),
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
    (b"\x1f\x8b\x08", "application/x-gzip"),
    (b"Rar!\x1a\x07\x00", "application/x-rar-compressed"),
    (b"Rar!\x1a\x07\x01\x00", "application/x-rar-compressed"),
    (b"\x00asm", "application/wasm"),
    (b" " * SNIFFED + b"\x00", "text/plain"),
    (b" " * (SNIFFED - 1) + b"\x00", "application/octet-stream"),
]


@pytest.mark.parametrize(("content", "kind"), SEEN_IN_GO)
def test_content_is_judged_as_go_judges_it(content: bytes, kind: str) -> None:
    assert content_type(content) == kind


@given(st.binary(min_size=SNIFFED, max_size=SNIFFED), st.binary(max_size=9))
def test_what_follows_the_first_bytes_means_nothing(head: bytes, rest: bytes) -> None:
    assert content_type(head + rest) == content_type(head)
