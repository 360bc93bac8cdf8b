"""A running server and our spec -> how they differ.

Asks every GET and HEAD route of the spec that needs no parameter, and `POST /api/show` for the
models that the server lists. None of these loads or changes anything.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from drift.check import check
from drift.compare import FOREIGN_PREFIX
from drift.difference import Difference
from drift.document import CannotCompare, is_mapping, is_sequence

if TYPE_CHECKING:
    from drift.document import Document, Node, Operation
    from drift.probe import Answer, Server

_TAGS = ("GET", "/api/tags")
_SHOW = ("POST", "/api/show")
_JSON = "application/json"
_LONGEST_DETAIL = 200


@dataclass(slots=True)
class Findings:
    """What a server was found to do.

    Attributes:
        version: The version that the server gives itself.
        differences: By name, each once, with the first example of it.
        notes: What a reader should know about how much was looked at.
    """

    version: str
    differences: dict[str, Difference] = field(default_factory=dict[str, Difference])
    notes: list[str] = field(default_factory=list[str])


def examine(document: Document, server: Server, most_models: int) -> Findings:
    """Ask a server all that can be asked without changing anything.

    Args:
        document: Our spec.
        server: The server.
        most_models: For how many models to call `/api/show`.

    Raises:
        CannotCompare: The server does not answer, or what answers is not Ollama.
    """
    examination = _Examination(document, server)
    operations = document.operations()
    tags: object = None
    for key, operation in operations.items():
        if _is_plain_read(operation):
            decoded = examination.ask(operation)
            tags = decoded if key == _TAGS else tags
    if _SHOW in operations:
        examination.ask_about_models(operations[_SHOW], _model_names(tags), most_models)
    return examination.findings


def _is_plain_read(operation: Operation) -> bool:
    return (
        operation.method in {"GET", "HEAD"}
        and not operation.parameters
        and not operation.path.startswith(FOREIGN_PREFIX)
    )


def _model_names(tags: object) -> list[str]:
    entries = tags.get("models") if is_mapping(tags) else None
    if not is_sequence(entries):
        return []
    names = [entry.get("model") or entry.get("name") for entry in entries if is_mapping(entry)]
    return [name for name in names if isinstance(name, str)]


class _Examination:
    """Sends the requests and collects what is wrong with the answers."""

    def __init__(self, document: Document, server: Server) -> None:
        self.document = document
        self.server = server
        self.findings = Findings(_version(server))

    def ask_about_models(self, operation: Operation, models: list[str], most: int) -> None:
        """Call `/api/show` for the first models of a list."""
        if not models:
            self.findings.notes.append(
                "The server lists no models: the entries of /api/tags and the answer of /api/show "
                "were not looked at."
            )
        elif len(models) > most:
            self.findings.notes.append(
                f"/api/show was called for {most} of {len(models)} models, the newest; "
                "--max-models raises the limit."
            )
        for model in models[:most]:
            self.ask(operation, model)

    def ask(self, operation: Operation, model: str = "") -> object:
        """Send one request and check the answer.

        Returns:
            The decoded body of a successful answer; None where there is none.
        """
        body = {"model": model} if model else None
        answer = self.server.ask(operation.method, operation.path, body)
        if answer.status != HTTPStatus.OK:
            self._check_failure(operation, answer, model)
            return None
        return self._check_success(operation, answer, model)

    def _check_success(self, operation: Operation, answer: Answer, model: str) -> object:
        expected = operation.responses.get("200", {})
        if operation.method == "HEAD" or not expected:
            return None
        if _JSON not in expected:
            if answer.content_type not in expected:
                kind = answer.content_type or "no content type"
                self._add_answer(operation, f"{kind} instead of {' or '.join(expected)}")
            return None
        decoded = _decode(answer)
        if decoded is _NOT_JSON:
            kind = answer.content_type or "no content type"
            self._add_answer(operation, f"no JSON ({kind})")
            return None
        self._check_body(f"{operation.name} response", expected[_JSON], decoded, model)
        return decoded

    def _check_failure(self, operation: Operation, answer: Answer, model: str) -> None:
        decoded = _decode(answer)
        missing = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}
        # The router answers in plain text; an error of the route itself is JSON (no body in HEAD).
        if answer.status in missing and decoded is _NOT_JSON and answer.content_type != _JSON:
            what = "the server has no such route"
            self._add(Difference(operation.name, what, "operation", "here", operation.home))
            return
        schema = operation.responses.get(f"{answer.status // 100}XX", {}).get(_JSON)
        if decoded is not _NOT_JSON and schema is not None:
            self._check_body(f"{operation.name} error", schema, decoded, model)
        if decoded is not _NOT_JSON and model:
            # A stub of a cloud model that is out of reach, say, or one that was just deleted.
            self.findings.notes.append(
                f"{operation.path} of {model} failed with status {answer.status} and was left out."
            )
            return
        text = answer.body.decode(errors="replace")
        self._add_answer(operation, f"status {answer.status} instead of 200", text)

    def _check_body(self, where: str, node: Node, decoded: object, model: str) -> None:
        for problem in check(self.document, node, decoded):
            of_model = f"of model {model}" if model else ""
            self._add(
                Difference(
                    where=f"{where}{problem.path}",
                    what=problem.what,
                    kind=problem.kind,
                    side=problem.side,
                    home=problem.home,
                    detail=", ".join(filter(None, [problem.example, of_model])),
                )
            )

    def _add_answer(self, operation: Operation, what: str, text: str = "") -> None:
        detail = " ".join(text.split())[:_LONGEST_DETAIL]
        self._add(Difference(operation.name, what, "answer", "upstream", operation.home, detail))

    def _add(self, difference: Difference) -> None:
        self.findings.differences.setdefault(difference.name, difference)


def _version(server: Server) -> str:
    answer = server.ask("GET", "/api/version")
    decoded = _decode(answer)
    version = decoded.get("version") if is_mapping(decoded) else None
    if answer.status != HTTPStatus.OK or not isinstance(version, str):
        kind = answer.content_type or "no content type"
        raise CannotCompare(
            f"{server.url}: is not an Ollama server: it answers GET /api/version with status "
            f"{answer.status} and {kind}, not with a version in JSON."
        )
    return version


class _NotJson:
    """The type of the mark below, which no JSON decodes to."""


_NOT_JSON = _NotJson()


def _decode(answer: Answer) -> object:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return _NOT_JSON
