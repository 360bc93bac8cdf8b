"""Models and blobs on the move: pull, push, create."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar, Unpack

from ollama_openapi import models as bodies
from ollama_openapi.api import models

from ollama_ext import arguments
from ollama_ext.calls import tried
from ollama_ext.digests import parse_digest
from ollama_ext.progress import ProgressState
from ollama_ext.repeats import Repeat
from ollama_ext.streaming import ProgressStream, events_of
from ollama_ext.uploads import has_blob, steps_of, upload

from .base import Methods

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ollama_openapi.models import CreateRequest, PullRequest, PushRequest

    from ollama_ext.blobs import Blob, Content
    from ollama_ext.calls import Operation
    from ollama_ext.cancel import CancelToken
    from ollama_ext.options import BodyOptions, Call, CallOptions
    from ollama_ext.plans import CreateArguments, Plan
    from ollama_ext.progress import Progress
    from ollama_ext.uploads import Tell

RequestT = TypeVar("RequestT", bodies.PullRequest, bodies.PushRequest)


class TransferMethods(Methods):
    """Methods that move models and blobs."""

    def pull_model(self, model: str, *, insecure: bool | None = None, **call: Unpack[BodyOptions]) -> None:
        """Have the server download a model, and return when it has it.

        A pull that breaks off goes on where it was, when it is tried again or asked for anew.

        Args:
            model: Name of the model, with its registry if that is not Ollama's.
            insecure: Whether to ask the registry over plain http.
            **call: What every call takes, see `BodyOptions`.

        Raises:
            ModelNotInRegistry: The registry has no such model.
        """
        request = _registry_request(bodies.PullRequest, model, insecure, call)
        self._run(models.pull_model, "/api/pull", request, self._calls.begin(call), Repeat.SAFE)

    def pull_model_stream(
        self, model: str, *, insecure: bool | None = None, **call: Unpack[BodyOptions]
    ) -> ProgressStream:
        """Do as `pull_model` does, and return its progress while it goes on."""
        request = _registry_request(bodies.PullRequest, model, insecure, call)
        return self._stream(models.pull_model, "/api/pull", request, call)

    def push_model(self, model: str, *, insecure: bool | None = None, **call: Unpack[BodyOptions]) -> None:
        """Have the server upload a model to a registry, and return when that has it.

        Args:
            model: Name of the model; it says which registry and which namespace there (`copy_model` gives
                a model another name).
            insecure: Whether to talk to the registry over plain http.
            **call: What every call takes, see `BodyOptions`.

        Raises:
            ModelNotFound: The server has no such model.
        """
        request = _registry_request(bodies.PushRequest, model, insecure, call)
        self._run(models.push_model, "/api/push", request, self._calls.begin(call), Repeat.SAFE)

    def push_model_stream(
        self, model: str, *, insecure: bool | None = None, **call: Unpack[BodyOptions]
    ) -> ProgressStream:
        """Do as `push_model` does, and return its progress while it goes on."""
        request = _registry_request(bodies.PushRequest, model, insecure, call)
        return self._stream(models.push_model, "/api/push", request, call)

    def create_model(self, model: str, from_: str | None = None, **create: Unpack[CreateArguments]) -> None:
        """Create a model from another one, from files of this machine, or by a Modelfile.

        Files are hashed here and sent only if the server lacks them. A model that has the name is replaced.

        Args:
            model: Name of the new model.
            from_: Name of the model that it is made from; one that the server lacks is pulled.
            **create: What the model is made of, see `CreateArguments`, and what every call takes.
        """
        plan = _plan(model, from_, create)
        begun, state = self._calls.begin(plan.options), ProgressState(path="/api/create", model=model)
        request = plan.request(self._uploaded(plan, begun, state, _ignore))
        self._run(models.create_model, "/api/create", request, begun, plan.repeat)

    def create_model_stream(
        self, model: str, from_: str | None = None, **create: Unpack[CreateArguments]
    ) -> ProgressStream:
        """Do as `create_model` does, and return its progress while it goes on, that of the uploads first.

        Arguments and files are looked at here; the server is first asked when the stream is iterated.
        """
        plan = _plan(model, from_, create)
        begun = self._calls.begin(plan.options)
        token = begun.with_own_token()
        return ProgressStream(self._creating(plan, begun, token), token)

    def _creating(self, plan: Plan, call: Call, token: CancelToken) -> Generator[Progress]:
        state = ProgressState(path="/api/create", model=plan.model)
        digests: dict[str, dict[str, str]] = {}

        def work(tell: Tell) -> None:
            digests.update(self._uploaded(plan, call, state, tell))

        if plan.uploads:
            yield from steps_of(work, token.cancel)
        else:
            work(_ignore)
        request = plan.request(digests)
        silence = call.limits.timeouts.first_byte
        opened = tried(
            lambda: self._calls.open(models.create_model, request, call, silence=silence), call, plan.repeat
        )
        yield from events_of(opened, state, [])

    def _uploaded(
        self, plan: Plan, call: Call, state: ProgressState, tell: Tell
    ) -> dict[str, dict[str, str]]:
        """Upload the files of a plan that the server lacks; return the digests of all by their names."""
        from ollama_ext.blobs import open_blob  # noqa: PLC0415 - see _plan

        digests: dict[str, dict[str, str]] = {field: {} for field in plan.sources}
        places: list[tuple[str, str]] = []
        with ExitStack() as opened:
            blobs: list[Blob] = []
            for field, sources in plan.sources.items():
                for name, source in sources.items():
                    if isinstance(source, str):
                        digests[field][name] = source
                    else:
                        places.append((field, name))
                        blobs.append(opened.enter_context(open_blob(source, field)))
            for (field, name), digest in zip(
                places, upload(self._calls, blobs, call, state, tell), strict=True
            ):
                digests[field][name] = digest
        return digests

    def check_blob(self, digest: str, **call: Unpack[CallOptions]) -> bool:
        """Return whether the server has a blob.

        It looks for the file, not into it, and may delete one that no model refers to at any time.

        Args:
            digest: ``sha256:`` and 64 hexadecimal digits.
            **call: What every call takes, see `CallOptions`.
        """
        return has_blob(self._calls, parse_digest(digest), self._calls.begin(call))

    def push_blob(
        self,
        digest: str | None,
        content: Content,
        *,
        on_progress: Callable[[Progress], object] | None = None,
        **call: Unpack[CallOptions],
    ) -> str:
        """Upload a blob, unless the server has it.

        Args:
            digest: What its digest must be; anything else is refused before a byte is sent. None: whatever it
                is.
            content: A path, bytes, or a file open in binary mode. It is hashed first and read again when it
                is sent, in constant memory.
            on_progress: Called with each step.
            **call: What every call takes, see `CallOptions`.

        Returns:
            The digest: ``sha256:`` and 64 hexadecimal digits.
        """
        from ollama_ext.blobs import open_blob  # noqa: PLC0415 - see _plan

        expected = None if digest is None else parse_digest(digest)
        state = ProgressState(path="/api/blobs")
        with open_blob(content) as blob:
            begun = self._calls.begin(call)
            return upload(self._calls, [blob], begun, state, on_progress or _ignore, expected=expected)[0]

    def _stream(
        self, operation: Operation[object], path: str, body: PullRequest | PushRequest, options: CallOptions
    ) -> ProgressStream:
        call = self._calls.begin(options)
        token = call.with_own_token()
        silence = call.limits.timeouts.first_byte
        opened = tried(lambda: self._calls.open(operation, body, call, silence=silence), call, Repeat.SAFE)
        return ProgressStream(events_of(opened, ProgressState(path=path, model=body.model), []), token)

    def _run(
        self,
        operation: Operation[object],
        path: str,
        body: PullRequest | PushRequest | CreateRequest,
        call: Call,
        repeat: Repeat,
    ) -> None:
        """Do all of it, from the start where it is worth another try."""
        silence = call.limits.timeouts.first_byte

        def attempt() -> None:
            opened = self._calls.open(operation, body, call, silence=silence)
            for _ in events_of(opened, ProgressState(path=path, model=body.model), []):
                pass

        tried(attempt, call, repeat)


def _plan(model: str, from_: str | None, create: CreateArguments) -> Plan:
    """Return the plan of a create."""
    # With Modelfiles, files and their kinds this is a good part of the library, and few programs create.
    from ollama_ext.plans import Plan  # noqa: PLC0415

    return Plan(model, from_, create)


def _registry_request(
    kind: arguments.ModelClass[RequestT], model: str, insecure: bool | None, options: BodyOptions
) -> RequestT:
    extra = options.pop("extra_body", None)
    return arguments.body(kind, {"model": model, "insecure": insecure}, extra)


def _ignore(_step: Progress) -> None: ...
