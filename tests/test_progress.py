"""Progress of pulls, pushes and creates: nothing goes back, and only success is the end."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ollama_openapi.ndjson import LineSplitter
from streams import assert_lawful, identify, line, pieces, whole_lines

from ollama_ext.errors import InvalidResponse, StreamError, StreamTruncated
from ollama_ext.progress import Overall, Progress, ProgressState
from ollama_ext.testing import RecordedExchange, Recording, recordings

if TYPE_CHECKING:
    from collections.abc import Iterable

PATHS = {"/api/pull", "/api/push", "/api/create"}
RECORDED = [each for each in recordings() if each.request.path in PATHS and each.response.status == 200]
FAILED = [each for each in RECORDED if b'"error"' in each.response.body]
SUCCEEDED = [each for each in RECORDED if each not in FAILED]
STREAMED = [each for each in SUCCEEDED if each.response.chunked]

MODEL = "sha256:" + "a" * 64
LICENSE = "sha256:" + "b" * 64
ZEROS = "0000000000000000000"


def new_state(exchange: RecordedExchange) -> ProgressState:
    return ProgressState(path=exchange.request.path, model=exchange.request.json()["model"])


def play(state: ProgressState, reads: Iterable[bytes]) -> list[Progress]:
    """Let a state have a whole body as it came in reads, and its end; return the progress."""
    lines, steps = LineSplitter(), list[Progress]()
    for data in reads:
        for each in lines.feed(data):
            steps += state.feed(each)
    for each in lines.finish():
        steps += state.feed_rest(each)
    state.finish()
    return steps


def fed(state: ProgressState, *lines: dict[str, Any]) -> list[Progress]:
    return [step for each in lines for step in state.feed(line(each))]


def layer(status: str, digest: str, completed: int = 0, total: int = 0) -> dict[str, Any]:
    """Return a line as Go writes it, without the numbers that are 0."""
    numbers = {"total": total, "completed": completed}
    return {"status": status, "digest": digest, **{name: value for name, value in numbers.items() if value}}


# -- the recorded streams


@pytest.mark.parametrize("exchange", RECORDED, ids=identify)
def test_any_split_of_a_recorded_stream_gives_the_same_progress(exchange: RecordedExchange) -> None:
    def outcome(reads: Iterable[bytes]) -> tuple[object, ...]:
        state = new_state(exchange)
        try:
            return (*play(state, reads), state.partial, state.done)
        except StreamError as error:
            return (str(error), error.body, state.partial, state.done)

    body = exchange.response.body
    expected = outcome([body])

    @settings(max_examples=10, deadline=None)
    @given(st.lists(st.integers(1, 400), min_size=1, max_size=8))
    def splits(sizes: list[int]) -> None:
        assert outcome(pieces(body, sizes)) == expected

    splits()
    assert outcome(chunk.data for chunk in exchange.response.chunks) == expected


@pytest.mark.parametrize("exchange", SUCCEEDED, ids=identify)
def test_a_recorded_success_never_goes_back_and_ends_at_one(exchange: RecordedExchange) -> None:
    state = new_state(exchange)
    steps = play(state, [exchange.response.body])
    assert_lawful(steps)
    assert [step.status for step in steps] == [each["status"] for each in exchange.response.lines()]
    assert [step.digest for step in steps] == [each.get("digest", "") for each in exchange.response.lines()]
    assert all(step.overall.fraction < 1.0 for step in steps[:-1])
    assert steps[-1].overall.fraction == 1.0
    assert steps[-1].overall.completed == steps[-1].overall.total
    assert state.done
    assert state.partial == steps[-1]


@pytest.mark.parametrize("exchange", FAILED, ids=identify)
def test_a_recorded_failure_is_raised_and_leaves_the_last_progress(exchange: RecordedExchange) -> None:
    *told, error_line = whole_lines(exchange.response.body)
    state = new_state(exchange)
    with pytest.raises(StreamError) as caught:
        play(state, [exchange.response.body])
    assert caught.value.status == 200
    assert json.loads(caught.value.body) == error_line
    assert state.partial is not None
    assert state.partial.status == told[-1]["status"]
    assert state.partial.overall.fraction < 1.0
    assert not state.done


@pytest.mark.parametrize("exchange", STREAMED, ids=identify)
def test_a_recorded_stream_that_is_cut_anywhere_is_no_success(exchange: RecordedExchange) -> None:
    body = exchange.response.body.rstrip(b"\n")
    whole = whole_lines(body + b"\n")
    for end in range(len(body)):
        state = new_state(exchange)
        with pytest.raises(StreamTruncated):
            play(state, [body[:end]])
        assert not state.done
        told = body[:end].count(b"\n") + (end in ends_of_lines(body))
        assert (state.partial.status if state.partial else None) == (
            whole[told - 1]["status"] if told else None
        )


def ends_of_lines(body: bytes) -> set[int]:
    return {index for index, byte in enumerate(body) if byte == ord("\n")}


def test_a_sum_of_what_the_registry_tells_goes_back_and_ours_does_not() -> None:
    exchange = Recording("pull-registry-progress").exchange
    seen, sums = dict[str, tuple[int, int]](), list[float]()
    for each in exchange.response.lines():
        if "digest" in each:
            seen[each["digest"]] = each.get("completed", 0), each["total"]
            sums.append(sum(done for done, _ in seen.values()) / sum(total for _, total in seen.values()))
    assert any(before > after for before, after in pairwise(sums))
    assert sums[-1] < 1.0

    steps = play(new_state(exchange), [exchange.response.body])
    assert_lawful(steps)
    assert steps[-1].overall == Overall(completed=45_949_216 + 148, total=45_949_216 + 148, fraction=1.0)


def test_a_push_that_tells_more_bytes_than_there_are_shows_no_more_than_there_are() -> None:
    exchange = Recording("push-registry-redirect").exchange
    assert any(each.get("completed", 0) > each.get("total", 0) for each in exchange.response.lines())
    assert_lawful(play(new_state(exchange), [exchange.response.body]))


# -- the laws, for whatever a server sends

numbers = st.one_of(
    st.none(),
    st.integers(-5, 300),
    st.sampled_from([-(2**63), 2**53, 2**63 - 1, 2**63, 2**64, 10**300, 96.0, -1.0]),
)
hostile = st.fixed_dictionaries(
    {"status": st.sampled_from(["pulling manifest", "pulling a", "quantizing", "success", "", "x"])},
    optional={
        "digest": st.sampled_from([None, "", MODEL, LICENSE, ZEROS, "sha256:model"]),
        "total": numbers,
        "completed": numbers,
    },
)
honest = st.builds(
    layer,
    st.sampled_from(["pulling a", "quantizing"]),
    st.sampled_from([MODEL, LICENSE, ZEROS]),
    st.integers(0, 100),
    st.sampled_from([0, 50, 100]),
)
uploads = st.tuples(st.sampled_from([MODEL, LICENSE]), st.integers(-5, 300), st.integers(-5, 300))


@given(
    st.lists(st.one_of(hostile, honest, uploads), max_size=30),
    st.sampled_from(["", "/api/pull", "/api/create"]),
)
@example([(MODEL, 50, 100), {"status": "x"}, (MODEL, 60, 100), (MODEL, 55, 100)], "")
@example([layer("x", MODEL, 80), layer("x", MODEL, 80, 50), layer("x", MODEL, 90)], "")
def test_nothing_goes_back_whatever_a_server_sends(
    told: list[dict[str, Any] | tuple[str, int, int]], path: str
) -> None:
    state, steps = ProgressState(path=path), list[Progress]()
    for each in told:
        steps += [state.uploading(*each)] if isinstance(each, tuple) else fed(state, each)
    assert_lawful(steps)
    successes = [index for index, step in enumerate(steps) if step.status == "success"]
    before = steps[: successes[0]] if successes else steps
    assert all(step.overall.fraction < 1.0 for step in before)
    assert state.partial == (steps[-1] if steps else None)


@given(st.lists(honest, max_size=30))
def test_success_is_one_and_counts_every_layer_whole(lines: list[dict[str, Any]]) -> None:
    state = ProgressState()
    *_, last = fed(state, *lines, {"status": "success"})
    state.finish()
    assert last.overall.fraction == 1.0
    assert last.overall.completed == last.overall.total
    assert state.done


# -- what is known about layers


def test_a_layer_that_is_there_already_counts_whole_at_once() -> None:
    first, second = fed(
        ProgressState(), layer("pulling a", MODEL, 900, 900), layer("pulling b", LICENSE, 10, 100)
    )
    assert (first.overall.completed, first.overall.total) == (900, 900)
    assert (second.overall.completed, second.overall.total) == (910, 1000)


@pytest.mark.parametrize("following", [layer("pulling b", LICENSE, 0, 100), {"status": "verifying"}])
def test_a_layer_without_a_last_event_counts_whole_once_another_step_follows(
    following: dict[str, Any],
) -> None:
    state = ProgressState()
    (before,) = fed(state, layer("pulling a", MODEL, 300, 900))
    (after,) = fed(state, following)
    assert before.overall.completed == 300
    assert after.overall.completed == 900


def test_a_download_that_is_tried_again_waits_where_it_was() -> None:
    told = [100, 400, 200, 500]
    steps = fed(ProgressState(), *(layer("pulling a", MODEL, done, 1000) for done in told))
    assert [step.completed for step in steps] == [100, 400, 400, 500]
    assert [step.overall.completed for step in steps] == [100, 400, 400, 500]


def test_a_file_that_is_quantized_after_another_starts_anew_under_the_same_digest() -> None:
    name = "quantizing F16 model to Q4_K_M"
    steps = fed(
        ProgressState(path="/api/create"),
        layer(name, ZEROS, 50, 100),
        layer(name, ZEROS, 100, 100),
        {"status": "verifying conversion"},
        layer(name, ZEROS, 10, 300),
        layer(name, ZEROS, 300, 300),
    )
    assert [step.completed for step in steps] == [50, 100, 0, 10, 300]
    assert [step.total for step in steps] == [100, 100, 0, 300, 300]
    assert (steps[-1].overall.completed, steps[-1].overall.total) == (400, 400)
    assert_lawful(steps)


def test_a_second_pass_that_is_tried_again_waits_where_it_was() -> None:
    told = [(100, 100), (10, 100), (60, 100), (30, 100)]
    lines = [layer("quantizing", ZEROS, *each) for each in told]
    lines.insert(1, {"status": "verifying conversion"})
    steps = fed(ProgressState(), *lines)
    assert [step.completed for step in steps] == [100, 0, 10, 60, 60]
    told_first_pass_short = [layer("x", MODEL, 50, 100), {"status": "y"}, layer("x", MODEL, 70, 100)]
    steps = fed(ProgressState(), *told_first_pass_short, layer("x", MODEL, 60, 100))
    assert [step.completed for step in steps] == [50, 0, 70, 70]
    assert steps[-1].overall.total == 100


def test_two_things_done_with_one_digest_are_two_passes() -> None:
    *_, last = fed(ProgressState(), layer("validating", ZEROS, 100, 100), layer("quantizing", ZEROS, 10, 100))
    assert (last.completed, last.overall.completed, last.overall.total) == (10, 110, 200)


def test_bytes_without_a_digest_count_too() -> None:
    (step,) = fed(ProgressState(), {"status": "x", "completed": 5, "total": 10})
    assert (step.completed, step.total, step.overall.fraction) == (5, 10, 0.5)


def test_a_layer_that_two_files_share_counts_once() -> None:
    *_, last = fed(
        ProgressState(),
        layer("pulling a", MODEL, 100, 100),
        layer("pulling b", LICENSE, 10, 10),
        layer("pulling a", MODEL, 100, 100),
    )
    assert last.overall.total == 110


def test_layers_at_the_same_time_stay_lawful() -> None:
    rounds = [layer(f"pulling {d[7]}", d, done, 100) for done in range(0, 101, 10) for d in (MODEL, LICENSE)]
    steps = fed(ProgressState(), *rounds)
    assert_lawful(steps)
    assert steps[-1].overall.total == 200


def test_a_layer_of_unknown_size_counts_for_nothing_until_its_size_is_told() -> None:
    unknown, known = fed(ProgressState(), layer("x", MODEL, 80), layer("x", MODEL, 80, 100))
    assert (unknown.completed, unknown.total) == (80, 0)
    assert unknown.overall == Overall(0, 0, 0.0)
    assert known.overall == Overall(80, 100, 0.8)


@pytest.mark.parametrize("digest", ["sha256:model", ZEROS, "anything at all"])
def test_a_digest_that_is_none_is_passed_on(digest: str) -> None:
    (step,) = fed(ProgressState(), layer("pulling model", digest, 1, 2))
    assert step.digest == digest
    assert step.overall.fraction == 0.5


def test_a_status_that_nobody_knows_is_passed_on() -> None:
    (step,) = fed(ProgressState(), {"status": "polishing", "new field": [1]})
    assert step == Progress("polishing", "", 0, 0, Overall(0, 0, 0.0))


def test_all_bytes_that_are_known_are_shown_as_99_percent_until_success() -> None:
    state = ProgressState()
    (step,) = fed(state, layer("pulling a", MODEL, 900, 900))
    assert f"{step.overall.fraction:.0%}" == "99%"


def test_memory_does_not_grow_with_the_number_of_lines() -> None:
    state = ProgressState()

    def many(start: int) -> None:
        for number in range(start, start + 3000):
            state.feed(line(layer(f"pulling {number}", f"sha256:{number}", 1, 2)))

    many(0)
    tracemalloc.start()
    try:
        many(3000)
        before, _ = tracemalloc.get_traced_memory()
        many(6000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 50_000
    assert state.partial is not None
    assert state.partial.overall.total == 18_000


# -- uploads before a create


def test_uploads_that_are_told_beforehand_share_one_fraction() -> None:
    state = ProgressState(path="/api/create")
    steps = [
        state.uploading(LICENSE, 0, 100),
        state.uploading(MODEL, 0, 900),
        state.uploading(MODEL, 450, 900),
        state.uploading(LICENSE, 100, 100),
        state.uploading(MODEL, 200, 900),  # a retry
        state.uploading(MODEL, 900, 900),
    ]
    assert [step.overall.fraction for step in steps] == [0.0, 0.0, 0.45, 0.55, 0.55, 0.99]
    assert {step.status for step in steps} == {"uploading"}
    assert (steps[4].digest, steps[4].completed, steps[4].total) == (MODEL, 450, 900)
    last = fed(state, {"status": "parsing GGUF"}, {"status": "success"})[-1]
    assert last.overall == Overall(1000, 1000, 1.0)


def test_hashing_a_file_is_shown_and_counts_for_nothing_overall() -> None:
    state = ProgressState(path="/api/create")
    steps = [state.hashing(5, 10), state.hashing(10, 10), state.hashing(1, 20), state.hashing(7, 0)]
    assert [(step.status, step.digest, step.completed, step.total) for step in steps] == [
        ("hashing", "", 5, 10),
        ("hashing", "", 10, 10),
        ("hashing", "", 1, 20),  # the next file
        ("hashing", "", 7, 0),  # a pipe
    ]
    assert {step.overall for step in steps} == {Overall(0, 0, 0.0)}
    assert state.uploading(MODEL, 5, 10).overall == Overall(5, 10, 0.5)
    assert state.hashing(1, 3).overall == Overall(5, 10, 0.5)


def test_an_upload_is_the_partial_progress_until_the_server_speaks() -> None:
    state = ProgressState(path="/api/create")
    step = state.uploading(MODEL, 5, 10)
    assert state.partial == step
    with pytest.raises(StreamTruncated, match="uploading"):
        state.finish()


# -- the end

PULL = [
    {"status": "pulling manifest"},
    layer("pulling a", MODEL, 10, 10),
    {"status": "writing manifest"},
    {"status": "success"},
]


def test_success_of_the_pull_inside_a_create_is_not_its_end() -> None:
    state = ProgressState(path="/api/create")
    steps = fed(state, *PULL)
    assert steps[-1].overall.fraction < 1.0
    assert not state.done
    with pytest.raises(StreamTruncated, match="success"):
        state.finish()
    steps += fed(state, {"status": f"using existing layer {MODEL}"}, {"status": "writing manifest"})
    assert all(step.overall.fraction < 1.0 for step in steps)
    steps += fed(state, {"status": "success"})
    assert steps[-1].overall.fraction == 1.0
    state.finish()
    assert state.done


def test_success_of_a_pull_is_its_end() -> None:
    state = ProgressState(path="/api/pull")
    assert fed(state, *PULL)[-1].overall.fraction == 1.0
    assert not state.done  # lines may follow
    state.finish()
    assert state.done
    assert state.feed(line({"status": "more"})) == []


def test_a_stream_that_goes_on_after_success_and_breaks_off_is_truncated() -> None:
    state = ProgressState()
    steps = fed(state, {"status": "success"}, {"status": "writing manifest"})
    assert_lawful(steps)
    with pytest.raises(StreamTruncated, match="writing manifest"):
        state.finish()


def test_a_stream_without_any_line_is_truncated() -> None:
    state = ProgressState(model="m")
    with pytest.raises(StreamTruncated, match="there was no step") as caught:
        state.finish()
    assert (caught.value.status, caught.value.model) == (200, "m")
    assert state.partial is None


def test_a_last_line_that_nothing_terminates_is_read_too() -> None:
    state = ProgressState()
    (step,) = state.feed_rest(b'{"status":"success"}')
    assert step.overall.fraction == 1.0
    state.finish()
    assert state.done


@pytest.mark.parametrize("rest", [b"{", b'{"status":"succ', b' {"status":"success"'])
def test_the_beginning_of_a_last_line_is_a_truncated_stream(rest: bytes) -> None:
    with pytest.raises(StreamTruncated, match="in the middle of a line") as caught:
        ProgressState().feed_rest(rest)
    assert caught.value.body == rest


def test_a_last_line_that_is_no_json_at_all_is_no_progress() -> None:
    with pytest.raises(InvalidResponse, match="html"):
        ProgressState().feed_rest(b"<html>")


def test_a_last_line_too_deep_to_be_read_is_no_progress() -> None:
    deep = b'{"status":"x","more":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(InvalidResponse):
        ProgressState().feed_rest(deep)


# -- what is wrong


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (b"<html>", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"[1]", "a list"),
        (b'"success"', "a string"),
        (b"{}", "status"),
        (b'{"status":null}', "status"),
        (b'{"status":7}', "status"),
        (b'{"status":"x","digest":7}', "digest"),
        (b'{"status":"x","total":"7"}', "total"),
        (b'{"status":"x","total":1.5}', "total"),
        (b'{"status":"x","total":1e300}', "total"),
        (b'{"status":"x","completed":true}', "completed"),
        (b'{"status":"x","completed":[]}', "completed"),
        (b'{"status":"x","completed":1' + b"0" * 5000 + b"}", "JSON"),
    ],
)
def test_a_line_that_is_no_progress_is_refused_and_what_is_wrong_is_named(bad: bytes, named: str) -> None:
    state = ProgressState(model="m")
    (step,) = fed(state, {"status": "pulling manifest"})
    with pytest.raises(InvalidResponse, match=named) as caught:
        state.feed(bad)
    assert (caught.value.status, caught.value.body, caught.value.model) == (200, bad, "m")
    assert state.partial == step


@pytest.mark.parametrize(
    ("told", "taken"),
    [(None, 0), (-1, 0), (-(2**63), 0), (7.0, 7), (2**63, 2**63 - 1), (10**300, 2**63 - 1)],
)
def test_a_number_that_no_server_means_does_not_end_a_pull(told: Any, taken: int) -> None:
    (completed,) = fed(ProgressState(), {"status": "x", "digest": MODEL, "completed": told})
    (total,) = fed(ProgressState(), {"status": "x", "digest": MODEL, "total": told, "completed": 5})
    assert (completed.completed, completed.total) == (taken, 0)
    assert (total.completed, total.total) == (5, taken)


def test_an_error_of_the_server_names_the_model() -> None:
    state = ProgressState(path="/api/pull", model="nope")
    with pytest.raises(StreamError, match="no space left on device") as caught:
        state.feed(line({"error": "write /models/blobs: no space left on device"}))
    assert (caught.value.status, caught.value.model) == (200, "nope")


def test_progress_is_a_value() -> None:
    (step,) = fed(ProgressState(), layer("pulling a", MODEL, 1, 2))
    copy = pickle.loads(pickle.dumps(step))  # noqa: S301 - our own bytes
    assert (copy, hash(copy)) == (step, hash(step))
    with pytest.raises(AttributeError):
        step.completed = 2  # type: ignore[misc]
