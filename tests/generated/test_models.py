"""The generated models: what is decoded comes back out, and what is wrong is named."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import decimal
import enum
import json
import pathlib
import pickle
import typing
import uuid
from collections import OrderedDict
from types import MappingProxyType
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from ollama_openapi import UNSET, InvalidBody, Unset, models
from ollama_openapi.types import Model, encode_json, plain
from schema_values import (
    OBJECTS,
    SCHEMAS,
    any_json,
    named_values,
    object_values,
    parent_of,
    places,
    required_fields,
    without_tolerated_nulls,
)

few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
many = settings(few, max_examples=300)


def decode(name: str, value: Any) -> Model:
    """Decode a value with the model of that name."""
    model: type[Any] = getattr(models, name)
    built: Model = model.from_dict(value)
    return built


def _pickled(model: Model) -> Model:
    twin: Model = pickle.loads(pickle.dumps(model))  # noqa: S301 - our own bytes
    return twin


def as_text(value: Any) -> str:
    """Return JSON text, in which 1, 1.0 and true differ."""
    return json.dumps(value, sort_keys=True)


# -- the laws of all models


@pytest.mark.parametrize("name", OBJECTS)
@few
@given(data=st.data())
def test_what_is_decoded_is_encoded_without_loss(name: str, data: st.DataObject) -> None:
    value = data.draw(object_values(name))
    before = copy.deepcopy(value)

    model = decode(name, value)
    encoded = model.to_dict()

    assert as_text(encoded) == as_text(without_tolerated_nulls(SCHEMAS[name], value))
    assert as_text(value) == as_text(before)  # the caller's value is not touched
    assert decode(name, encoded) == model
    assert as_text(json.loads(encode_json(encoded))) == as_text(encoded)


@pytest.mark.parametrize("name", OBJECTS)
@few
@given(data=st.data())
def test_a_value_of_a_wrong_type_is_named_by_its_place(name: str, data: st.DataObject) -> None:
    value = data.draw(object_values(name))
    typed = list(places(SCHEMAS[name], value))
    assume(typed)
    place = data.draw(st.sampled_from(typed))
    wrong = place.wrong_values()
    assume(wrong)
    parent_of(value, place.path)[place.path[-1]] = data.draw(st.sampled_from(wrong))

    with pytest.raises(InvalidBody) as caught:
        decode(name, value)

    assert caught.value.path == place.path
    assert caught.value.model in SCHEMAS


@pytest.mark.parametrize("name", [name for name in OBJECTS if SCHEMAS[name].get("required")])
@few
@given(data=st.data())
def test_a_missing_field_is_named_with_its_model(name: str, data: st.DataObject) -> None:
    value = data.draw(object_values(name))
    path, owner = data.draw(st.sampled_from(list(required_fields(SCHEMAS[name], value))))
    del parent_of(value, path)[path[-1]]

    with pytest.raises(InvalidBody, match="is missing") as caught:
        decode(name, value)

    assert (caught.value.model, caught.value.field, caught.value.path) == (owner, path[-1], path)


@many
@given(name=st.sampled_from(OBJECTS), value=any_json)
def test_whatever_is_decoded_is_a_model_or_invalid(name: str, value: Any) -> None:
    try:
        model = decode(name, value)
    except InvalidBody:
        return  # any other exception fails the test
    assert as_text(model.to_dict()) == as_text(without_tolerated_nulls(SCHEMAS[name], value))


@many
@given(named=named_values)
def test_a_model_survives_copying_and_pickling(named: tuple[str, Any]) -> None:
    model = decode(*named)

    for twin in (copy.copy(model), copy.deepcopy(model), _pickled(model)):
        assert twin == model
        assert as_text(twin.to_dict()) == as_text(model.to_dict())


@many
@given(named=named_values)
def test_a_model_shows_only_the_fields_that_it_has(named: tuple[str, Any]) -> None:
    model = decode(*named)
    names = {each: getattr(models, each) for each in models.__all__}  # and no UNSET

    rebuilt = eval(repr(model), names)  # noqa: S307 - our own text

    assert rebuilt == model


# -- UNSET


def test_unset_is_one_object_whatever_is_done_to_it() -> None:
    assert copy.copy(UNSET) is UNSET
    assert copy.deepcopy(UNSET) is UNSET
    assert pickle.loads(pickle.dumps(UNSET)) is UNSET  # noqa: S301 - our own bytes
    assert Unset("UNSET") is UNSET
    assert not UNSET
    assert repr(UNSET) == "UNSET"


def test_a_copied_request_still_sends_only_what_was_set() -> None:
    request = models.ChatRequest(model="m", options=models.Options(seed=1))

    twin = copy.deepcopy(request)

    assert twin.keep_alive is UNSET
    assert json.loads(encode_json(twin.to_dict())) == {"model": "m", "options": {"seed": 1}}


# -- null


def test_null_stays_where_go_sends_it() -> None:
    details = {
        "parent_model": "",
        "format": "gguf",
        "family": "llama",
        "families": None,
        "parameter_size": "",
        "quantization_level": "",
    }
    model = models.ModelDetails.from_dict(details)

    assert model.families is None
    assert model.to_dict() == details


def test_null_elsewhere_counts_as_absent() -> None:
    chunk = models.ResponseMessage.from_dict({"role": "assistant", "content": "", "tool_calls": None})

    assert chunk.tool_calls is UNSET
    assert chunk.to_dict() == {"role": "assistant", "content": ""}


def test_null_in_json_of_any_kind_stays() -> None:
    tool = models.Tool.from_dict({"function": {"name": "f"}, "items": None})

    assert tool.items is None
    assert tool.to_dict() == {"function": {"name": "f"}, "items": None}


def test_null_for_a_required_field_is_invalid() -> None:
    with pytest.raises(InvalidBody, match=r"VersionResponse\.version: expected a string, got null"):
        models.VersionResponse.from_dict({"version": None})


# -- unknown things


def test_unknown_fields_can_be_read_changed_and_sent() -> None:
    version = models.VersionResponse.from_dict({"version": "1", "commit": "abc", "flags": [None]})

    assert version.additional_keys == ["commit", "flags"]
    assert "commit" in version
    assert version["commit"] == "abc"
    version["commit"] = "def"
    del version["flags"]
    assert version.to_dict() == {"version": "1", "commit": "def"}


def test_unknown_fields_can_be_given_at_the_start() -> None:
    request = models.DeleteRequest(model="m", additional_properties={"force": True})
    assert request.to_dict() == {"model": "m", "force": True}


def test_a_set_field_wins_over_an_additional_one_of_that_name() -> None:
    request = models.DeleteRequest(model="m", additional_properties={"model": "n", "name": "x"})
    assert request.to_dict() == {"model": "m", "name": "x"}


def test_unknown_enum_values_are_kept() -> None:
    message = models.Message.from_dict({"role": "developer", "content": "x"})
    assert message.role == "developer"
    assert models.ChatRequest.from_dict({"model": "m", "think": "extreme"}).think == "extreme"


# -- arguments


def test_fields_are_given_by_name_only() -> None:
    positional: Any = models.Message
    with pytest.raises(TypeError):
        positional("user")


def test_a_typing_error_in_a_name_is_refused() -> None:
    message: Any = models.Message
    with pytest.raises(TypeError, match="contnet"):
        message(role="user", contnet="x")


def test_an_object_may_be_any_mapping() -> None:
    function = OrderedDict(name="f", arguments=MappingProxyType({"a": 1}))
    call = models.ToolCall.from_dict(MappingProxyType({"function": function}))

    assert call.to_dict() == {"function": {"name": "f", "arguments": {"a": 1}}}


def test_an_empty_object_is_enough_where_nothing_is_required() -> None:
    assert models.Options.from_dict({}).to_dict() == {}
    with pytest.raises(InvalidBody, match="is missing"):
        models.ChatChunk.from_dict({})


@pytest.mark.parametrize("source", [None, [], "text", 1, b"{}"])
def test_what_is_no_object_is_invalid_as_a_whole(source: Any) -> None:
    with pytest.raises(InvalidBody, match="expected an object") as caught:
        models.Options.from_dict(source)
    assert (caught.value.model, caught.value.field, caught.value.path) == ("Options", None, ())


def test_a_whole_float_is_an_integer() -> None:
    options = models.Options.from_dict({"num_ctx": 4096.0, "temperature": 1})

    assert encode_json(options.to_dict()) == b'{"num_ctx":4096,"temperature":1}'


@pytest.mark.parametrize("value", [1.5, 2.0**60, float("inf"), float("nan"), True, "1"])
def test_what_is_not_surely_an_integer_is_none(value: Any) -> None:
    with pytest.raises(InvalidBody, match="expected an integer"):
        models.Options.from_dict({"seed": value})


def test_subclasses_of_text_and_numbers_become_plain_ones() -> None:
    class Role(enum.StrEnum):
        USER = "user"

    class Loud(str):
        __slots__ = ()

        def __str__(self) -> str:
            return self.upper()

    class Number(float):
        pass

    class Count(enum.IntEnum):
        ONE = 1

    message = models.Message.from_dict({"role": Role.USER, "content": Loud("quiet")}).to_dict()
    assert encode_json(message) == b'{"role":"user","content":"quiet"}'
    options = models.Options.from_dict({"temperature": Number(0.5), "top_p": Count.ONE, "seed": Count.ONE})
    assert encode_json(options.to_dict()) == b'{"seed":1,"top_p":1,"temperature":0.5}'


def test_models_inside_free_form_json_are_encoded_too() -> None:
    city = models.ToolProperty(type_="string")
    parameters = models.ToolFunctionParameters(properties={"city": city, "more": (city, 1), "gone": UNSET})

    assert plain(parameters)["properties"] == {"city": {"type": "string"}, "more": [{"type": "string"}, 1]}


# -- the message of an error


def test_an_error_says_which_field_of_which_model_and_where() -> None:
    with pytest.raises(InvalidBody) as caught:
        models.ChatRequest.from_dict(
            {"model": "m", "messages": [{"role": "user"}, {"role": "user", "content": []}]}
        )

    error = caught.value
    assert str(error) == "Message.content: expected a string, got a list (at messages[1].content)"
    assert (error.model, error.field, error.where) == ("Message", "content", "messages[1].content")
    assert error.path == ("messages", 1, "content")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, "EmbedRequest.input: expected a string or a list, got a number"),
        ([1], "EmbedRequest.input: expected a string, got a number (at input[0])"),
    ],
)
def test_an_error_in_a_choice_of_types_names_all_or_the_one_that_was_meant(value: Any, expected: str) -> None:
    with pytest.raises(InvalidBody) as caught:
        models.EmbedRequest.from_dict({"model": "m", "input": value})
    assert str(caught.value) == expected


@pytest.mark.parametrize("item", ["x", None, [], {}])
def test_what_is_no_number_is_found_in_an_embedding(item: Any) -> None:
    with pytest.raises(InvalidBody) as caught:
        models.EmbedResponse.from_dict({"model": "m", "embeddings": [[0.5], [1, 10**400, 0.5, item]]})
    assert caught.value.where == "embeddings[1][3]"


def test_numbers_too_large_to_add_up_are_numbers() -> None:
    embeddings = [[1.5, 10**400]]
    assert models.EmbedResponse.from_dict({"model": "m", "embeddings": embeddings}).embeddings == embeddings


def test_an_invalid_body_survives_pickling() -> None:
    with pytest.raises(InvalidBody) as caught:
        models.Message.from_dict({"role": 1})
    twin = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
    assert (str(twin), twin.path) == (str(caught.value), ("role",))


# -- JSON going out


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_lacks_is_refused_by_its_place(bad: float) -> None:
    request = models.ChatRequest(model="m", options=models.Options(temperature=bad), tools=[])
    with pytest.raises(ValueError, match=r"options\.temperature is -?(nan|inf)"):
        encode_json(request.to_dict())
    with pytest.raises(ValueError, match=r"a\[1\] is"):
        encode_json({"a": (None, bad)})
    with pytest.raises(ValueError, match="the value is"):
        encode_json(bad)


def test_null_in_a_body_is_no_bad_number() -> None:
    assert encode_json({"a": None, "b": "null", "c": [0.5]}) == b'{"a":null,"b":"null","c":[0.5]}'


@attrs.define(frozen=True)
class Point:
    """A class of a user's."""

    x: float


@dataclasses.dataclass(frozen=True)
class Spot:
    """A dataclass of a user's."""

    x: float


class Place(msgspec.Struct, frozen=True):
    """A struct of a user's."""

    x: float


class Plain(enum.Enum):
    """An enum whose members are neither text nor numbers."""

    ONE = 1


NAN = float("nan")
NO_JSON: dict[str, object] = {
    "set": {NAN},
    "frozenset": frozenset({NAN}),
    "Point": Point(NAN),
    "Spot": Spot(NAN),
    "Place": Place(NAN),
    "Decimal": decimal.Decimal("1.5"),
    "bytes": b"x",
    "bytearray": bytearray(b"x"),
    "memoryview": memoryview(b"x"),
    "datetime": dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
    "date": dt.date(2026, 1, 2),
    "timedelta": dt.timedelta(1),
    "UUID": uuid.UUID(int=1),
    "Plain": Plain.ONE,
    "PurePosixPath": pathlib.PurePosixPath("x"),
    "generator": (number for number in [1]),
    "type": int,
    "object": object(),
}


@pytest.mark.parametrize(("kind", "value"), NO_JSON.items(), ids=NO_JSON)
def test_a_value_that_is_no_json_is_refused_by_its_kind_and_place(kind: str, value: object) -> None:
    message = models.Message(role="user", additional_properties={"more": [1, {"x": (value,)}]})
    request = models.ChatRequest(model="m", messages=[message], options=models.Options(seed=1))

    with pytest.raises(TypeError) as caught:
        request.to_dict()

    where = "messages[0].more[1].x[0]"
    assert str(caught.value) == f"{where} is of the type {kind}, which JSON cannot hold"
    with pytest.raises(TypeError, match=f"^the value is of the type {kind},"):
        plain(value)
    with pytest.raises(TypeError, match=rf"^format is of the type {kind},"):
        models.ChatRequest(model="m", format_=value).to_dict()
    with pytest.raises(TypeError, match=r"^1\.a\[0\] is"):
        plain({1: {"a": [value]}})


def test_subclasses_of_json_types_are_json() -> None:
    class Text(str):
        __slots__ = ()

    class Count(enum.IntEnum):
        ONE = 1

    class Point(typing.NamedTuple):
        x: float

    value = {"a": Text("x"), "b": [Count.ONE, True, None], "c": Point(0.5), "d": OrderedDict(e=1)}

    assert plain(MappingProxyType(value)) == {"a": "x", "b": [1, True, None], "c": [0.5], "d": {"e": 1}}


def test_unset_is_left_out_of_objects_and_refused_in_lists() -> None:
    assert plain(UNSET) is UNSET
    assert plain({"a": UNSET, "b": {"c": UNSET}}) == {"b": {}}
    assert models.DeleteRequest(model="m", additional_properties={"a": UNSET}).to_dict() == {"model": "m"}
    with pytest.raises(TypeError, match=r"^a\[1\] is of the type Unset"):
        plain({"a": [1, UNSET]})


def test_text_that_is_no_unicode_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        encode_json({"prompt": "\ud800"})
