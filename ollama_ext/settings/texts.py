"""Which text a key takes: each function says what is wrong with one, and the remedy.

What it says follows the name of the key. They return None where nothing is wrong.
"""

from __future__ import annotations

import re
from typing import Final

from ollama_ext.errors import InvalidArgument
from ollama_ext.hosts import parse_host
from ollama_ext.names import checked_name, parse_reference

TYPES: Final = ("chat", "generate", "embed", "*")

_EXCHANGE: Final = re.compile(r"[A-Za-z0-9._:-]{1,127}")
_LONGEST_NAME: Final = 128
_LONGEST_QUEUE_NAME: Final = 255


def model_fault(model: str) -> str | None:
    """Look at the name of a model."""
    try:
        reference = parse_reference(model)
        checked_name(model if reference.source == "unspecified" else reference.model)
    except InvalidArgument as error:
        return error.message.removeprefix("The model name ").rstrip(".")
    return None


def model_or_all_fault(model: str) -> str | None:
    """Look at the name of a model, or ``*``."""
    return None if model == "*" else model_fault(model)


def type_fault(text: str) -> str | None:
    """Look at the type of a subscription."""
    if text in TYPES:
        return None
    return f'must be chat, generate, embed or "*"; not {text!r:.80}'


def host_fault(text: str) -> str | None:
    """Look at the address of an Ollama."""
    try:
        parse_host(text).dial_url  # noqa: B018 - refuses what cannot be dialled
    except InvalidArgument as error:
        return f"cannot be used: {error.message.rstrip('.')}"
    return None


def exchange_fault(text: str) -> str | None:
    """Look at the name of an exchange."""
    if text.startswith("amq."):
        return "begins with amq., which brokers keep for themselves: choose another name"
    if not _EXCHANGE.fullmatch(text):
        return f"must be 1 to 127 ASCII letters, digits and . _ : - ; not {text!r:.80}"
    return None


def name_fault(text: str) -> str | None:
    """Look at the name of a worker."""
    if len(text) > _LONGEST_NAME:
        return f"has {len(text)} characters; at most {_LONGEST_NAME} are shown"
    return None


def reply_fault(text: str) -> str | None:
    """Look at the beginning of a queue's name."""
    if len(text.encode()) > _LONGEST_QUEUE_NAME:
        return f"has {len(text.encode())} bytes; no queue has a name of more than {_LONGEST_QUEUE_NAME}"
    return None


def bucket_fault(text: str) -> str | None:
    """Look at the name of a bucket."""
    if "://" in text or (("/" in text) and not text.startswith("arn:")):
        return (
            "must be the name of a bucket alone: the server belongs into endpoint_url, the rest into prefix"
        )
    return None


def prefix_fault(text: str) -> str | None:
    """Look at what keys of a bucket begin with."""
    from ollama_ext.s3.layout import checked_prefix  # noqa: PLC0415 - only where there is a bucket

    try:
        checked_prefix(text)
    except InvalidArgument as error:
        return error.message.removeprefix("prefix ")
    return None


def endpoint_fault(text: str) -> str | None:
    """Look at the URL of an S3 server."""
    if "@" in text:
        return "must not hold a user or a password: access_key_id and secret_access_key_file are for them"
    from ollama_ext.s3.endpoint import check_endpoint  # noqa: PLC0415 - only where there is a bucket

    try:
        # Whether metadata services' addresses are allowed is another key's to say; see `reading`.
        check_endpoint(text, allow_link_local=True)
    except InvalidArgument as error:
        return error.message.removeprefix("endpoint_url ")
    return None
