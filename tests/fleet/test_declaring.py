"""What is asked of a broker so that an exchange or a queue is there, and what its answers mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_ext.fleet.declaring import Declared, declare_exchange, declare_queue, is_gone, look
from ollama_ext.fleet.questions import (
    NO_CODE,
    Answer,
    Conversation,
    ExchangeDeclare,
    Question,
    QueueBind,
    QueueDeclare,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

YES = Answer()
QUEUE, EXCHANGE = "llm.request.ollama.chat.m", "llm.request"
NO_RIGHT, MISSING, LOCKED, OTHER = 403, 404, 405, 406

answers = st.builds(
    Answer, st.sampled_from([0, 0, NO_RIGHT, MISSING, LOCKED, OTHER, NO_CODE]), st.text(max_size=20)
)


def no(code: int, text: str = "no") -> Answer:
    return Answer(code=code, text=text)


def told(
    steps: Generator[Question, Answer, Any], answers: Iterable[Answer]
) -> tuple[list[Question], Any | None]:
    """Hold the conversation; return what was asked, and what came of it (None: it was not over)."""
    results: list[Any] = []
    asked: list[Question] = []
    talk = Conversation(steps, results.append)
    for answer in answers:
        if talk.question is None:
            break
        asked.append(talk.question)
        talk.answered(answer)
    if talk.question is not None:
        asked.append(talk.question)
    return asked, (results or [None])[0]


def exchange(*answers: Answer) -> Declared:
    _, result = told(declare_exchange(EXCHANGE), answers)
    assert isinstance(result, Declared)
    return result


def queue(*answers: Answer, exclusive: bool = False) -> Declared:
    _, result = told(declare_queue(QUEUE, EXCHANGE, exclusive=exclusive), answers)
    assert isinstance(result, Declared)
    return result


# -- exchanges


def test_an_exchange_is_looked_for_before_it_is_declared() -> None:
    asked, result = told(declare_exchange(EXCHANGE), [no(MISSING), YES])
    assert asked == [ExchangeDeclare(EXCHANGE, passive=True), ExchangeDeclare(EXCHANGE)]
    assert result == Declared(EXCHANGE)


def test_an_exchange_that_we_may_not_declare_is_used_if_it_is_there() -> None:
    assert exchange(YES, no(NO_RIGHT)) == Declared(EXCHANGE)


def test_an_exchange_that_is_missing_and_may_not_be_made_is_a_missing_right() -> None:
    declared = exchange(no(MISSING), no(NO_RIGHT))
    assert declared.right
    assert declared.problem == "exchange 'llm.request' is missing, and we may not make it"


def test_an_exchange_of_another_type_is_a_problem_and_no_missing_right() -> None:
    declared = exchange(
        YES, no(OTHER, "inequivalent arg 'type' for exchange: received 'topic', current 'fanout'")
    )
    assert not declared.right
    assert "is no topic exchange" in str(declared.problem)
    assert "'fanout'" in str(declared.problem)


def test_an_exchange_with_other_arguments_is_used_as_it_is_and_said_so() -> None:
    declared = exchange(YES, no(OTHER, "inequivalent arg 'alternate-exchange'"))
    assert declared.problem is None
    assert "is used as it is" in declared.notes[0]
    assert "alternate-exchange" in declared.notes[0]


# -- queues


def test_a_queue_is_declared_as_a_quorum_queue_with_nothing_else_and_bound_by_its_name() -> None:
    asked, result = told(declare_queue(QUEUE, EXCHANGE), [YES, YES])
    assert asked == [QueueDeclare(QUEUE, {"x-queue-type": "quorum"}), QueueBind(QUEUE, EXCHANGE, QUEUE)]
    assert result == Declared(QUEUE)


def test_a_single_active_consumer_is_asked_for_where_the_settings_say_so() -> None:
    asked, result = told(declare_queue(QUEUE, EXCHANGE, exclusive=True), [YES, YES])
    assert asked[0] == QueueDeclare(QUEUE, {"x-queue-type": "quorum", "x-single-active-consumer": True})
    assert result == Declared(QUEUE, exclusive=True)


def test_a_queue_with_other_arguments_is_used_as_it_is_and_said_so() -> None:
    declared = queue(no(OTHER, "inequivalent arg 'x-delivery-limit'"), YES, YES)
    assert declared.problem is None
    assert not declared.exclusive
    assert "is used as it is" in declared.notes[0]


def test_a_queue_that_has_a_single_active_consumer_already_is_treated_so_whatever_the_settings_say() -> None:
    text = "inequivalent arg 'x-single-active-consumer': received none but current is the value 'true'"
    assert queue(no(OTHER, text), YES, YES).exclusive


def test_a_queue_that_has_no_single_active_consumer_is_treated_so_whatever_the_settings_say() -> None:
    text = "inequivalent arg 'x-single-active-consumer': received the value 'true' but current is none"
    assert not queue(no(OTHER, text), YES, YES, exclusive=True).exclusive


def test_a_queue_that_we_may_not_declare_is_used_if_it_is_there() -> None:
    declared = queue(no(NO_RIGHT), YES, YES)
    assert declared == Declared(QUEUE)
    assert queue(no(NO_RIGHT), YES, YES, exclusive=True).exclusive


def test_a_queue_that_is_missing_and_may_not_be_made_is_a_missing_right() -> None:
    declared = queue(no(NO_RIGHT), no(MISSING))
    assert declared.right
    assert "is missing, and we may not make it" in str(declared.problem)


def test_a_queue_of_another_connection_is_a_problem() -> None:
    declared = queue(no(LOCKED, "RESOURCE_LOCKED"), no(LOCKED))
    assert not declared.right
    assert "belongs to another connection" in str(declared.problem)


def test_a_binding_that_we_may_not_make_is_a_note_as_the_operator_may_have_made_it() -> None:
    declared = queue(YES, no(NO_RIGHT, "ACCESS_REFUSED"))
    assert declared.problem is None
    assert "nothing reaches it" in declared.notes[0]


def test_a_queue_whose_exchange_is_gone_is_a_problem() -> None:
    assert "cannot be bound" in str(queue(YES, no(MISSING)).problem)


# -- laws


@given(st.lists(answers, min_size=4, max_size=4), st.booleans())
def test_a_conversation_ends_after_three_answers_and_says_what_it_is_about(
    given_answers: list[Answer], exclusive: bool
) -> None:
    asked, made = told(declare_queue(QUEUE, EXCHANGE, exclusive=exclusive), given_answers)
    assert isinstance(made, Declared)
    assert made.name == QUEUE
    assert len(asked) <= 3
    asked, made = told(declare_exchange(EXCHANGE), given_answers)
    assert isinstance(made, Declared)
    assert len(asked) == 2


@given(st.lists(answers, min_size=4, max_size=4), st.booleans())
def test_a_missing_right_is_always_a_problem_that_says_what_is_missing(
    given_answers: list[Answer], exclusive: bool
) -> None:
    for steps in (declare_queue(QUEUE, EXCHANGE, exclusive=exclusive), declare_exchange(EXCHANGE)):
        _, made = told(steps, given_answers)
        assert isinstance(made, Declared)
        assert not made.right or "we may not" in str(made.problem)


@given(st.lists(answers, min_size=4, max_size=4), st.booleans())
def test_nothing_is_ever_deleted_and_nothing_but_our_two_names_is_touched(
    given_answers: list[Answer], exclusive: bool
) -> None:
    asked = told(declare_queue(QUEUE, EXCHANGE, exclusive=exclusive), given_answers)[0]
    asked += told(declare_exchange(EXCHANGE), given_answers)[0]
    for question in asked:
        match question:
            case ExchangeDeclare(exchange=name):
                assert name == EXCHANGE
            case QueueDeclare(queue=name, arguments=arguments):
                assert name == QUEUE
                assert set(arguments or {}) <= {"x-queue-type", "x-single-active-consumer"}
            case QueueBind():
                assert question == QueueBind(QUEUE, EXCHANGE, QUEUE)
            case _:
                pytest.fail(f"{question} is none of a worker's")


# -- whether a caller is there


def test_a_reply_queue_is_looked_at_and_not_made() -> None:
    asked, result = told(look("llm.reply.u.1"), [YES])
    assert asked == [QueueDeclare("llm.reply.u.1", passive=True)]
    assert result == YES


def test_a_caller_is_gone_only_if_its_queue_is_not_there() -> None:
    assert is_gone(no(MISSING, "NOT_FOUND - no queue 'llm.reply.u.1' in vhost '/'"))
    away = "NOT_FOUND - home node 'rabbit@two' of durable queue 'llm.reply.u.1' is down or inaccessible"
    assert not is_gone(no(MISSING, away))
    for lives in (YES, no(LOCKED), no(NO_RIGHT), no(NO_CODE)):
        assert not is_gone(lives)


def test_a_conversation_that_is_abandoned_tells_nothing() -> None:
    results: list[Any] = []
    talk = Conversation(look("q"), results.append)
    talk.abandon()
    assert talk.question is None
    assert results == []
