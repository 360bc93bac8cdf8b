"""Which models a server has."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from ollama_openapi import models as bodies
from ollama_openapi.api import models

from ollama_ext import arguments
from ollama_ext.calls import parsed, tried
from ollama_ext.errors import OllamaError
from ollama_ext.repeats import Repeat, counts_as_done

from .base import Methods

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ollama_openapi.models import (
        ListModelResponse,
        ModelRecommendationsResponse,
        Options,
        ShowResponse,
    )
    from ollama_openapi.types import Request

    from ollama_ext.options import BodyOptions, CallOptions
    from ollama_ext.transport import Answer


class ModelMethods(Methods):
    """Methods about the models that a server has."""

    def list_models(self, **call: Unpack[CallOptions]) -> list[ListModelResponse]:
        """Return the models that the server has, newest first.

        ``digest`` is that of the manifest, without ``sha256:``; ``size`` is in bytes.
        """
        return self._calls.ask(models.list_models, None, call).models

    def show_model(
        self,
        model: str,
        *,
        verbose: bool | None = None,
        system: str | None = None,
        options: Mapping[str, Any] | Options | None = None,
        **call: Unpack[BodyOptions],
    ) -> ShowResponse:
        """Return what the server knows about a model.

        Args:
            model: Name of the model.
            verbose: Whether to send the arrays in ``model_info`` too; without it they are None.
            system: A system prompt to show in place of the model's own.
            options: Options to show in the ``modelfile`` in place of the model's own.
            **call: What every call takes, see `BodyOptions`.
        """
        fields = {"model": model, "verbose": verbose, "system": system, "options": options}
        request = arguments.body(bodies.ShowRequest, fields, call.pop("extra_body", None))
        return self._calls.ask(models.show_model, request, call)

    def copy_model(self, source: str, destination: str, **call: Unpack[BodyOptions]) -> None:
        """Give a model a second name. Costs no space; a model that has that name is replaced.

        Args:
            source: Name of the model.
            destination: The new name.
            **call: What every call takes, see `BodyOptions`.
        """
        arguments.checked_model(source, "source")
        arguments.checked_model(destination, "destination")
        fields = {"source": source, "destination": destination}
        request = arguments.body(bodies.CopyRequest, fields, call.pop("extra_body", None))
        self._calls.ask(models.copy_model, request, call)

    def delete_model(self, model: str, **call: Unpack[BodyOptions]) -> None:
        """Delete a model, and its blobs as far as no other model has them.

        If it is loaded it stays in memory until it expires, and can no longer be unloaded by its name:
        `unload_model` comes first.
        """
        request = arguments.body(bodies.DeleteRequest, {"model": model}, call.pop("extra_body", None))
        begun, earlier = self._calls.begin(call), list[OllamaError]()
        outgoing = models.delete_model.build_request(body=request)

        def attempt() -> None:
            try:
                self._calls.once(outgoing, partial(_deleted, request=outgoing, model=model), model, begun)
            except OllamaError as error:
                if not counts_as_done(error, earlier):
                    earlier.append(error)
                    raise

        try:
            tried(attempt, begun, Repeat.SAFE)
        finally:
            earlier.clear()  # their tracebacks lead back to here, a circle

    def recommend_models(self, **call: Unpack[CallOptions]) -> ModelRecommendationsResponse:
        """Return the models that the server recommends."""
        return self._calls.ask(models.recommend_models, None, call)


def _deleted(answer: Answer, request: Request, model: str) -> None:
    parsed(models.delete_model.parse, answer, answer.body, request, model)
