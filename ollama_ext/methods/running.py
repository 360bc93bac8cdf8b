"""Which models a server has in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from ollama_openapi import models as bodies
from ollama_openapi.api import inference, models

from ollama_ext import arguments
from ollama_ext.errors import BadRequest

from .base import Methods

if TYPE_CHECKING:
    from ollama_openapi.models import ProcessModelResponse

    from ollama_ext.arguments import KeepAlive
    from ollama_ext.options import CallOptions


class RunningMethods(Methods):
    """Methods about the models that are loaded."""

    def list_running(self, **call: Unpack[CallOptions]) -> list[ProcessModelResponse]:
        """Return the models that are loaded, the one that stays longest first.

        ``size`` and ``size_vram`` are in bytes. Names that share their weights are listed as one of them.
        """
        return self._calls.ask(models.list_running, None, call).models

    def load_model(
        self, model: str, *, keep_alive: KeepAlive | None = None, **call: Unpack[CallOptions]
    ) -> None:
        """Load a model, and return when it is ready.

        Args:
            model: Name of the model, of any kind.
            keep_alive: How long it stays loaded when nobody uses it: seconds, a timedelta or Go's notation
                (``"5m"``); negative: for ever. Left out: as the server is set, usually five minutes.
            **call: What every call takes, see `CallOptions`.
        """
        self._load(model, keep_alive, call)

    def unload_model(self, model: str, **call: Unpack[CallOptions]) -> None:
        """Have a model leave memory as soon as it is idle. No error if it is not loaded.

        The server answers at once; the memory is free a moment later.
        """
        self._load(model, 0, call)

    def _load(self, model: str, keep_alive: KeepAlive | None, options: CallOptions) -> None:
        call = self._calls.begin(options)  # one clock for both requests
        fields = {"model": model, "keep_alive": keep_alive}
        try:
            self._calls.ask(inference.generate, arguments.body(bodies.GenerateRequest, fields, None), call)
        except BadRequest as error:
            if "does not support generate" not in error.message:
                raise
            # A model that only embeds. Ollama loads it for an embed call without input.
            self._calls.ask(inference.embed, arguments.body(bodies.EmbedRequest, fields, None), call)
