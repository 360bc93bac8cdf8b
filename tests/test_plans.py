"""What a create is to be made of, before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_ext import CancelToken, InvalidArgument
from ollama_ext.plans import CreateArguments, Plan
from ollama_ext.repeats import Repeat

if TYPE_CHECKING:
    from pathlib import Path

THERE = f"sha256:{'1' * 64}"
OTHER = f"sha256:{'2' * 64}"
GGUF = b"GGUF\x03\x00\x00\x00"


def plan(from_: str | None = None, **create: Any) -> Plan:
    return Plan("m", from_, create)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - as users may


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path.resolve() / "weights.gguf"
    path.write_bytes(GGUF)
    return path


def test_what_is_none_is_as_if_it_was_left_out() -> None:
    every = plan("n", **dict.fromkeys(CreateArguments.__optional_keys__ - {"timeout", "retry", "cancel"}))
    assert every.request({}).to_dict() == {"model": "m", "from": "n"}
    assert not every.uploads


def test_the_options_of_the_call_are_kept_apart_none_included() -> None:
    token = CancelToken()
    made = plan("n", timeout=None, retry=None, cancel=token, extra_headers={"X-A": "1"}, system="s")
    assert made.options == {"timeout": None, "retry": None, "cancel": token, "extra_headers": {"X-A": "1"}}
    assert made.request({}).to_dict() == {"model": "m", "from": "n", "system": "s"}


def test_a_path_is_to_be_uploaded_and_a_digest_is_not(weights: Path) -> None:
    assert plan(files=weights).sources == {
        "files": {"weights.gguf": weights},
        "adapters": {},
        "draft_files": {},
    }
    assert plan(files=weights).uploads
    assert plan("n", adapters={"a.gguf": weights}).uploads
    assert plan("n", draft_files={"a.gguf": weights}).uploads
    named = plan(files={"x.gguf": THERE})
    assert named.sources["files"] == {"x.gguf": THERE}
    assert not named.uploads


def test_the_digests_go_where_their_files_were_named(weights: Path) -> None:
    made = plan(files=weights, adapters={"a.gguf": THERE}, extra_body={"newer": 1})
    digests = {"files": {"weights.gguf": OTHER}, "adapters": {"a.gguf": THERE}, "draft_files": {}}
    assert made.request(digests).to_dict() == {
        "model": "m",
        "files": {"weights.gguf": OTHER},
        "adapters": {"a.gguf": THERE},
        "newer": 1,
    }
    assert made.request(digests).to_dict() == made.request(digests).to_dict()


@pytest.mark.parametrize("files_too", [False, True])
def test_a_source_in_place_of_the_modelfiles_leaves_its_weights_at_home(
    weights: Path, files_too: bool
) -> None:
    modelfile = weights.parent / "Modelfile"
    modelfile.write_text("FROM weights.gguf\nADAPTER weights.gguf")
    made = plan("n", modelfile=modelfile, **({"files": {"x.gguf": THERE}} if files_too else {}))
    assert made.sources["files"] == ({"x.gguf": THERE} if files_too else {})
    assert made.sources["adapters"] == {"weights.gguf": weights}
    assert made.request({}).from_ == "n"


def test_a_modelfile_alone_is_enough(weights: Path) -> None:
    assert plan(modelfile="FROM llama3.2").request({}).from_ == "llama3.2"
    assert plan(modelfile=f"FROM {weights}").sources["files"] == {"weights.gguf": weights}
    with pytest.raises(
        InvalidArgument, match=r"nothing to create a model from: pass from_ .*files.*modelfile"
    ):
        plan()


@pytest.mark.parametrize(
    ("given", "repeat"),
    [
        ({"from_": "m", "license": "x"}, Repeat.ONCE),
        ({"from_": "m", "license": ["x"]}, Repeat.ONCE),
        ({"modelfile": "FROM m\nLICENSE x"}, Repeat.ONCE),
        ({"from_": "m", "modelfile": "FROM n\nLICENSE x"}, Repeat.ONCE),
        ({"from_": "m"}, Repeat.SAFE),
        ({"from_": "n", "license": "x"}, Repeat.SAFE),
        ({"from_": "n", "modelfile": "FROM m\nLICENSE x"}, Repeat.SAFE),
        ({"files": {"x.gguf": THERE}, "modelfile": "FROM m", "license": "x"}, Repeat.SAFE),
        # What extra_body says goes out in the end, so it counts too.
        ({"from_": "m", "extra_body": {"license": "x"}}, Repeat.ONCE),
        ({"extra_body": {"from": "m"}, "license": "x"}, Repeat.ONCE),
        ({"from_": "m", "extra_body": {"from": "n"}, "license": "x"}, Repeat.SAFE),
        ({"from_": "n", "extra_body": {"model": "n"}, "license": "x"}, Repeat.ONCE),
        # Two spellings of one name are one model.
        ({"from_": "m:latest", "license": "x"}, Repeat.ONCE),
        ({"from_": "M", "license": "x"}, Repeat.ONCE),
        ({"from_": "library/m", "license": "x"}, Repeat.ONCE),
        ({"from_": "m:local", "license": "x"}, Repeat.ONCE),
        ({"from_": "m:1b", "license": "x"}, Repeat.SAFE),
        ({"from_": " ", "license": "x"}, Repeat.SAFE),  # which the server refuses
    ],
    ids=repr,
)
def test_only_a_licence_for_the_model_itself_makes_a_second_run_differ(
    given: dict[str, Any], repeat: Repeat
) -> None:
    assert plan(**given).repeat is repeat


def test_what_extra_body_names_is_a_source_too() -> None:
    assert plan(extra_body={"from": "n"}).request({}).from_ == "n"
    made = plan(extra_body={"files": {"x.gguf": THERE}}, adapters={"a.gguf": THERE})
    digests = {"files": {"y.gguf": OTHER}, "adapters": {"a.gguf": THERE}}
    assert made.request(digests).to_dict() == {
        "model": "m",
        "files": {"x.gguf": THERE},  # extra_body wins
        "adapters": {"a.gguf": THERE},
    }
    empties: list[dict[str, Any]] = [{"from": ""}, {"files": {}}, {"files": None}]
    for empty in empties:
        with pytest.raises(InvalidArgument, match="nothing to create a model from"):
            plan(extra_body=empty)


@pytest.mark.parametrize("extra", [5, "x", [("from", "n")], {1: 2}], ids=repr)
def test_an_extra_body_of_a_wrong_kind_is_refused_by_name(extra: Any) -> None:
    with pytest.raises(InvalidArgument, match="extra_body must be a mapping"):
        plan(extra_body=extra)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1}, "\ud800"], ids=repr)
def test_what_json_cannot_hold_is_told_before_anything_is_uploaded(value: Any) -> None:
    with pytest.raises(InvalidArgument, match="parameters") as caught:
        plan("n", parameters={"a": value})
    assert caught.value.argument == "parameters"


def test_what_can_be_read_once_only_is_sent_each_time() -> None:
    message = {"role": "user", "content": "hi"}
    made = plan("n", messages=(each for each in [message]))
    assert made.request({}).to_dict()["messages"] == made.request({}).to_dict()["messages"] == [message]


def test_what_changes_after_the_call_changes_nothing() -> None:
    parameters: dict[str, Any] = {"stop": ["a"]}
    made = plan("n", parameters=parameters)
    parameters["stop"].append("b")
    assert made.request({}).to_dict()["parameters"] == {"stop": ["a"]}


@given(st.text(min_size=1).filter(lambda name: name not in CreateArguments.__optional_keys__))
def test_any_name_that_is_no_argument_is_named(name: str) -> None:
    with pytest.raises(TypeError) as caught:
        plan("n", **{name: 1})
    assert repr(name) in str(caught.value)


def test_of_several_unknown_names_one_is_named_always_the_same() -> None:
    with pytest.raises(TypeError, match="'aa'"):
        plan("n", zz=1, aa=2, system="x")
