"""Digests of blobs, as Ollama's blob routes and model stores spell them."""

from __future__ import annotations

import re

from .errors import InvalidArgument

_DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")
_HEX = re.compile(r"[0-9a-fA-F]{64}")


def parse_digest(text: str) -> str:
    """Return a digest in its canonical form: ``sha256:`` and 64 lower-case hexadecimal digits.

    Accepted is what Ollama accepts (``BlobsPath`` in ``manifest/paths.go``): ``sha256:`` or ``sha256-``, in
    lower case, and 64 hexadecimal digits in any case. The empty text, which means the directory of all
    blobs there, is no digest.

    Raises:
        InvalidArgument: The text is anything else; the message says what to write.
    """
    match = _DIGEST.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise InvalidArgument(
            f"The digest {text!r:.200} is not a SHA-256 digest: write {_remedy(text)}.", argument="digest"
        )
    return f"sha256:{match[1].lower()}"


def blob_file_name(digest: str) -> str:
    """Return the name of a blob's file in the directory ``blobs`` of a model store: ``sha256-<64 hex>``.

    Raises:
        InvalidArgument: As `parse_digest`.
    """
    return parse_digest(digest).replace(":", "-")


def _remedy(text: object) -> str:
    if isinstance(text, str):
        if _HEX.fullmatch(text):
            return f"'sha256:{text.lower()}'"
        likely = text.strip().lower()
        if _DIGEST.fullmatch(likely):
            return repr(likely)
    return "'sha256:' and 64 hexadecimal digits"
