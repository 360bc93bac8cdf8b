"""From a response to the steps of sending it: laws that hold for every response."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_http import parse

from ollama_ext.testing import Body, Ending, Lines, Recording, Response
from ollama_ext.testing.delivery import End, Send, Step, Wait, steps


def _sent(taken: list[Step]) -> bytes:
    return b"".join(step.data for step in taken if isinstance(step, Send))


@st.composite
def _responses(draw: st.DrawFn) -> Response:
    texts = draw(st.lists(st.text(max_size=8), max_size=5))
    response: Response = Lines(*texts) if draw(st.booleans()) else Body("".join(texts))
    if draw(st.booleans()):
        response = response.split(draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)))
    places = st.integers(0, len(response.body))
    for at in draw(st.lists(places, max_size=4)):
        response = response.stall(draw(st.integers(1, 9)), at=at)
    endings: list[Ending | None] = [None, "clean", "close", "reset"]
    how = draw(st.sampled_from(endings))
    return response if how is None else response.cut(draw(places), how)


@given(_responses())
def test_the_bytes_are_an_http_answer_with_the_body_up_to_the_cut(response: Response) -> None:
    taken = list(steps(response))
    answer = parse(_sent(taken))
    cut = response.ending
    assert answer.status == 200
    assert answer.body == response.body[: None if cut is None else cut.at]
    assert answer.rest == b""
    unfinished = cut is not None and cut.how != "clean"
    if response.chunked:
        assert answer.complete is not unfinished


@given(_responses())
def test_the_last_step_and_no_other_is_the_end(response: Response) -> None:
    *before, last = steps(response)
    assert isinstance(last, End)
    assert not any(isinstance(step, End) for step in before)
    cut = response.ending
    assert last.how == ("keep" if cut is None or cut.how == "clean" else cut.how)


@given(_responses())
def test_each_silence_comes_after_exactly_the_bytes_it_was_placed_at(response: Response) -> None:
    limit = len(response.body) if response.ending is None else response.ending.at
    expected = sorted((each.at, each.seconds) for each in response.pauses if each.at <= limit)
    heard: list[tuple[int, float]] = []
    taken: list[Step] = []
    for step in steps(response):
        if isinstance(step, Wait):
            heard.append((len(parse(_sent(taken)).body), step.seconds))
        taken.append(step)
    assert sorted(heard) == expected


@given(_responses())
def test_a_response_without_a_cut_keeps_its_pieces_as_chunks(response: Response) -> None:
    if response.chunked and response.ending is None:
        assert tuple(parse(_sent(list(steps(response)))).chunks) == response.pieces


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_a_split_makes_pieces_of_the_sizes_in_turn(sizes: list[int]) -> None:
    body = Recording("chat-stream-tools").exchange.response.body
    pieces = Recording("chat-stream-tools").split(sizes).pieces
    assert b"".join(pieces) == body
    for position, piece in enumerate(pieces[:-1]):
        assert len(piece) == sizes[position % len(sizes)]


def test_recorded_timing_takes_as_long_as_the_recording() -> None:
    response = Recording("chat-stream", timing=True)
    waits = [step.seconds for step in steps(response) if isinstance(step, Wait)]
    recorded = response.exchange.response
    assert waits[0] == recorded.first_byte_ms / 1000
    assert sum(waits) == pytest.approx(recorded.chunks[-1].milliseconds / 1000)


def test_without_asking_for_timing_nothing_waits() -> None:
    assert not any(isinstance(step, Wait) for step in steps(Recording("chat-stream")))


def test_delays_and_stalls_add_up() -> None:
    response = Body(b"ab").delay(1).delay(2).stall(3).stall(4)
    waits = [step.seconds for step in steps(response) if isinstance(step, Wait)]
    assert waits == [3.0, 3.0, 4.0]


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_stall_past_the_cut_is_never_reached(how: Ending) -> None:
    response = Body(b"abc").cut(1, how).stall(9, at=2)
    assert not any(isinstance(step, Wait) for step in steps(response))
