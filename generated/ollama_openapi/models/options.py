"""The model `Options`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, boolean, integer, list_of, number, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class Options(Model):
    """Settings of the model for this request.

    A value of the wrong type is answered with status 500; unknown names are ignored. Changing
    `num_ctx`, `num_batch`, `num_gpu`, `main_gpu`, `use_mmap`, `num_thread` or `draft_num_predict`
    reloads the model.
    """

    num_ctx: int | Unset = UNSET
    """Context length in tokens. Left out, the server's OLLAMA_CONTEXT_LENGTH, else 4096, 32768 or 262144
    by the memory of the GPU."""
    num_batch: int | Unset = UNSET
    """Tokens of the prompt that are processed at once. 512 where left out."""
    num_gpu: int | Unset = UNSET
    """Layers to place on the GPU. -1, chosen by the server, where left out."""
    main_gpu: int | Unset = UNSET
    """Index of the GPU to use first."""
    use_mmap: bool | Unset = UNSET
    """Map the weights into memory instead of reading them."""
    num_thread: int | Unset = UNSET
    """CPU threads. 0, chosen by the runner, where left out."""
    draft_num_predict: int | Unset = UNSET
    """Tokens to draft ahead with the draft model. 4 where left out and there is such a model. Since 0.30."""
    num_keep: int | Unset = UNSET
    """Tokens at the start of the context that a shift keeps. 4 where left out."""
    seed: int | Unset = UNSET
    """Start of the random numbers. -1, a new one each time, where left out."""
    num_predict: int | Unset = UNSET
    """Most tokens to generate. -1 where left out, which the server ends at ten times the context length."""
    top_k: int | Unset = UNSET
    """Choose among this many most likely tokens. 40 where left out."""
    top_p: float | Unset = UNSET
    """Choose among the most likely tokens whose probabilities sum up to this. 0.9 where left out."""
    min_p: float | Unset = UNSET
    """Leave out tokens less likely than this share of the likeliest one. 0 where left out."""
    typical_p: float | Unset = UNSET
    """Locally typical sampling; 1, where left out, is off."""
    repeat_last_n: int | Unset = UNSET
    """How many tokens back the penalties look. 64 where left out."""
    temperature: float | Unset = UNSET
    """How freely the next token is chosen; 0 always takes the likeliest. 0.8 where left out."""
    repeat_penalty: float | Unset = UNSET
    """Factor against repetition; 1 is off. 1 where left out (1.1 before 0.32.10)."""
    presence_penalty: float | Unset = UNSET
    """Penalty on tokens that occurred at all. 0 where left out."""
    frequency_penalty: float | Unset = UNSET
    """Penalty on tokens by how often they occurred. 0 where left out."""
    stop: list[str] | Unset = UNSET
    """Texts that end the reply. A list also where there is only one."""

    _json_names: ClassVar[dict[str, str]] = {
        "num_ctx": "num_ctx",
        "num_batch": "num_batch",
        "num_gpu": "num_gpu",
        "main_gpu": "main_gpu",
        "use_mmap": "use_mmap",
        "num_thread": "num_thread",
        "draft_num_predict": "draft_num_predict",
        "num_keep": "num_keep",
        "seed": "seed",
        "num_predict": "num_predict",
        "top_k": "top_k",
        "top_p": "top_p",
        "min_p": "min_p",
        "typical_p": "typical_p",
        "repeat_last_n": "repeat_last_n",
        "temperature": "temperature",
        "repeat_penalty": "repeat_penalty",
        "presence_penalty": "presence_penalty",
        "frequency_penalty": "frequency_penalty",
        "stop": "stop",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("Options", src_dict)
        return cls(
            num_ctx=fields.optional("num_ctx", integer),
            num_batch=fields.optional("num_batch", integer),
            num_gpu=fields.optional("num_gpu", integer),
            main_gpu=fields.optional("main_gpu", integer),
            use_mmap=fields.optional("use_mmap", boolean),
            num_thread=fields.optional("num_thread", integer),
            draft_num_predict=fields.optional("draft_num_predict", integer),
            num_keep=fields.optional("num_keep", integer),
            seed=fields.optional("seed", integer),
            num_predict=fields.optional("num_predict", integer),
            top_k=fields.optional("top_k", integer),
            top_p=fields.optional("top_p", number),
            min_p=fields.optional("min_p", number),
            typical_p=fields.optional("typical_p", number),
            repeat_last_n=fields.optional("repeat_last_n", integer),
            temperature=fields.optional("temperature", number),
            repeat_penalty=fields.optional("repeat_penalty", number),
            presence_penalty=fields.optional("presence_penalty", number),
            frequency_penalty=fields.optional("frequency_penalty", number),
            stop=fields.optional("stop", list_of(string)),
            additional_properties=fields.rest(),
        )
