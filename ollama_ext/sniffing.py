"""What kind of content a file has, judged by its first bytes as Go's ``http.DetectContentType`` does.

Ollama's client decides by it which files of a directory it uploads, so it is that function and not a
library's better judgement that is needed. Source: ``net/http/sniff.go`` of Go.
"""

from __future__ import annotations

import re

#: How many bytes are looked at.
SNIFFED = 512

_HTML = b"!DOCTYPE HTML|HTML|HEAD|SCRIPT|IFRAME|H1|DIV|FONT|TABLE|A|STYLE|TITLE|B|BODY|BR|P|!--"
# In Go's order; a pattern is looked for at the very beginning. A dot stands for any byte.
_KINDS = tuple(
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb"[\t\n\f\r ]*<(?i:" + _HTML + rb")[ >]", "text/html"),
        (rb"[\t\n\f\r ]*<\?xml", "text/xml"),
        (rb"%PDF-", "application/pdf"),
        (rb"%!PS-Adobe-", "application/postscript"),
        (rb"(?:\xfe\xff..|\xff\xfe..|\xef\xbb\xbf.)", "text/plain"),
        (rb"\x00\x00[\x01\x02]\x00", "image/x-icon"),
        (rb"BM", "image/bmp"),
        (rb"GIF8[79]a", "image/gif"),
        (rb"RIFF....WEBPVP", "image/webp"),
        (rb"\x89PNG\r\n\x1a\n", "image/png"),
        (rb"\xff\xd8\xff", "image/jpeg"),
        (rb"FORM....AIFF", "audio/aiff"),
        (rb"ID3", "audio/mpeg"),
        (rb"OggS\x00", "application/ogg"),
        (rb"MThd\x00\x00\x00\x06", "audio/midi"),
        (rb"RIFF....AVI ", "video/avi"),
        (rb"RIFF....WAVE", "audio/wave"),
    )
)
_KINDS_AFTER_MP4 = tuple(
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb"\x1a\x45\xdf\xa3", "video/webm"),
        (rb"\x00{34}LP", "application/vnd.ms-fontobject"),
        (rb"\x00\x01\x00\x00", "font/ttf"),
        (rb"OTTO", "font/otf"),
        (rb"ttcf", "font/collection"),
        (rb"wOFF", "font/woff"),
        (rb"wOF2", "font/woff2"),
        (rb"\x1f\x8b\x08", "application/x-gzip"),
        (rb"PK\x03\x04", "application/zip"),
        (rb"Rar!\x1a\x07(?:\x00|\x01\x00)", "application/x-rar-compressed"),
        (rb"\x00asm", "application/wasm"),
    )
)
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")


def content_type(content: bytes) -> str:
    """Return the media type of content, without parameters such as the character set.

    Args:
        content: The beginning of the content; what follows the first `SNIFFED` bytes is not looked at.

    Returns:
        One of some thirty types: ``text/plain`` for what holds no control characters (empty content too),
        ``application/octet-stream`` for what is nothing else.
    """
    head = content[:SNIFFED]
    for kinds in (_KINDS, _KINDS_AFTER_MP4):
        for pattern, kind in kinds:
            if pattern.match(head):
                return kind
        if kinds is _KINDS and _is_mp4(head):
            return "video/mp4"
    return "application/octet-stream" if _BINARY.search(head) else "text/plain"


def _is_mp4(head: bytes) -> bool:
    size = int.from_bytes(head[:4])
    if len(head) < 12 or len(head) < size or size % 4 or head[4:8] != b"ftyp":  # noqa: PLR2004 -- of a box
        return False
    # The names of its brands; the four bytes at 12 are a version.
    return any(head[start : start + 3] == b"mp4" for start in range(8, size, 4) if start != 12)  # noqa: PLR2004
