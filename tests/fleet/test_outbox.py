"""The outbox, told one event after the other. What must hold in any order is in test_outbox_laws.py."""

from __future__ import annotations

import pytest

from ollama_ext.fleet.messages import Properties
from ollama_ext.fleet.outbox import OVERHEAD, Letter, Outbox, Publish, Settled

DIRECT = "amq.rabbitmq.reply-to.g1h2AA5yZXBseUA3"


def letter(
    name: str, size: int = 1, *, expires: float | None = None, to: str = "amq.gen-1", exchange: str = ""
) -> Letter:
    return Letter(
        id=name,
        routing_key=to,
        exchange=exchange,
        body=b"x" * size,
        properties=Properties(message_id=name),
        expires=expires,
    )


def up(*letters: Letter, now: float = 0.0, limit: int = 1000) -> Outbox:
    """Return an outbox on whose channel these letters were published."""
    outbox = Outbox(limit_bytes=limit)
    assert outbox.up(now) == []
    for each in letters:
        assert outbox.add(each, now) == [Publish(each)]
    return outbox


def bytes_of(*bodies: int) -> int:
    """Return how many bytes letters with bodies of these lengths take."""
    return sum(OVERHEAD + length for length in bodies)


A, B, C = letter("a"), letter("b"), letter("c")


def test_a_letter_is_published_at_once_where_there_is_a_channel_and_settled_when_it_is_confirmed() -> None:
    outbox = up(A, B)
    assert (outbox.waiting, outbox.in_flight, outbox.size) == (0, 2, bytes_of(1, 1))
    assert outbox.confirmed(2, multiple=False, ack=True, now=1.0) == [Settled(B, "confirmed")]
    assert outbox.confirmed(1, multiple=False, ack=True, now=1.0) == [Settled(A, "confirmed")]
    assert (outbox.waiting, outbox.in_flight, outbox.size) == (0, 0, 0)


def test_letters_wait_for_the_channel_and_are_published_in_their_order() -> None:
    outbox = Outbox()
    assert outbox.add(A, 0.0) == []
    assert outbox.add(B, 0.0) == []
    assert (outbox.waiting, outbox.in_flight) == (2, 0)
    assert outbox.up(1.0) == [Publish(A), Publish(B)]
    assert (outbox.waiting, outbox.in_flight) == (0, 2)


def test_one_confirmation_may_be_meant_for_all_letters_before_it() -> None:
    outbox = up(A, B, C)
    assert outbox.confirmed(2, multiple=True, ack=True, now=1.0) == [
        Settled(A, "confirmed"),
        Settled(B, "confirmed"),
    ]
    assert outbox.in_flight == 1


def test_a_confirmation_of_number_zero_is_meant_for_all_letters() -> None:
    outbox = up(A, B)
    assert outbox.confirmed(0, multiple=True, ack=False, now=1.0) == [
        Settled(A, "nacked"),
        Settled(B, "nacked"),
    ]


def test_a_confirmation_of_what_is_not_under_way_is_passed_over() -> None:
    outbox = up(A)
    assert outbox.confirmed(2, multiple=False, ack=True, now=1.0) == []
    assert outbox.confirmed(1, multiple=False, ack=True, now=1.0) == [Settled(A, "confirmed")]
    assert outbox.confirmed(1, multiple=False, ack=True, now=1.0) == []


def test_a_letter_that_the_broker_does_not_take_is_nacked() -> None:
    assert up(A).confirmed(1, multiple=False, ack=False, now=1.0) == [Settled(A, "nacked")]


def test_a_letter_that_came_back_and_was_nacked_is_nacked() -> None:
    outbox = up(A)
    outbox.returned("a", 312, 1.0)
    assert outbox.confirmed(1, multiple=False, ack=False, now=1.0) == [Settled(A, "nacked")]


def test_a_letter_that_no_queue_takes_is_returned_when_its_confirmation_comes() -> None:
    outbox = up(A, B)
    assert outbox.returned("a", 312, 1.0) == []
    assert outbox.confirmed(2, multiple=True, ack=True, now=1.0) == [
        Settled(A, "returned"),
        Settled(B, "confirmed"),
    ]


def test_a_return_of_an_unknown_letter_is_passed_over() -> None:
    outbox = Outbox()
    outbox.add(A, 0.0)
    assert outbox.returned("a", 312, 0.0) == []  # it was never published
    assert outbox.returned("z", 312, 0.0) == []
    outbox.up(0.0)
    assert outbox.confirmed(1, multiple=False, ack=True, now=1.0) == [Settled(A, "confirmed")]


def test_a_return_from_direct_reply_to_proves_nothing() -> None:
    reply = letter("a", to=DIRECT)
    outbox = up(reply)
    outbox.returned("a", 312, 1.0)
    assert outbox.confirmed(1, multiple=False, ack=True, now=1.0) == [Settled(reply, "confirmed")]


def test_a_request_to_an_exchange_is_returned_whatever_its_routing_key() -> None:
    request = letter("a", to=DIRECT, exchange="llm.request")
    outbox = up(request)
    outbox.returned("a", 312, 1.0)
    assert outbox.confirmed(1, multiple=False, ack=True, now=1.0) == [Settled(request, "returned")]


def test_what_was_under_way_when_the_channel_was_lost_is_published_again_before_newer_letters() -> None:
    outbox = up(A, B, C)
    outbox.confirmed(2, multiple=False, ack=True, now=0.0)
    assert outbox.down(320, 1.0) == []
    newer = letter("d")
    assert outbox.add(newer, 1.0) == []
    assert (outbox.waiting, outbox.in_flight) == (3, 0)
    assert outbox.up(2.0) == [Publish(A), Publish(C), Publish(newer)]
    assert outbox.confirmed(1, multiple=False, ack=True, now=3.0) == [Settled(A, "confirmed")]
    assert outbox.confirmed(2, multiple=False, ack=True, now=3.0) == [Settled(C, "confirmed")]


def test_a_letter_that_was_returned_is_not_published_again() -> None:
    outbox = up(A, B)
    outbox.returned("a", 312, 0.0)
    assert outbox.down(None, 1.0) == [Settled(A, "returned")]
    assert outbox.up(1.0) == [Publish(B)]


@pytest.mark.parametrize("code", [403, 404, 406, 501])
def test_a_channel_that_was_closed_by_a_bad_letter_costs_the_largest_only(code: int) -> None:
    small, large, larger = letter("small", 1), letter("large", 10), letter("larger", 11)
    returned, waiting = letter("returned", 99), letter("waiting", 99)
    outbox = up(small, larger, large, returned)
    outbox.returned("returned", 312, 0.0)
    outbox.blocked()
    outbox.add(waiting, 0.0)
    outbox.unblocked(0.0)
    outbox.confirmed(5, multiple=False, ack=True, now=0.0)
    assert outbox.down(code, 1.0) == [Settled(returned, "returned"), Settled(larger, "refused")]
    assert outbox.up(2.0) == [Publish(small), Publish(large)]
    assert outbox.size == bytes_of(1, 10)


def test_a_letter_that_waits_is_not_blamed() -> None:
    outbox = up(A)
    outbox.blocked()
    outbox.add(letter("large", 100), 0.0)
    assert outbox.down(406, 1.0) == [Settled(A, "refused")]


def test_with_nothing_under_way_nobody_is_blamed() -> None:
    outbox = Outbox()
    outbox.add(A, 0.0)
    assert outbox.down(406, 1.0) == []
    assert outbox.waiting == 1


@pytest.mark.parametrize("code", [None, 0, 200, 320, 405, 541])
def test_a_channel_that_was_lost_otherwise_costs_no_letter(code: int | None) -> None:
    outbox = up(A)
    assert outbox.down(code, 1.0) == []
    assert outbox.up(1.0) == [Publish(A)]


def test_a_new_channel_without_word_of_the_end_of_the_old_one_is_a_new_channel() -> None:
    outbox = up(A, B)
    assert outbox.up(1.0) == [Publish(A), Publish(B)]
    assert outbox.confirmed(1, multiple=False, ack=True, now=1.0) == [Settled(A, "confirmed")]


def test_nothing_is_published_while_the_broker_is_blocked() -> None:
    outbox = up(A)
    outbox.blocked()
    assert outbox.add(B, 1.0) == []
    assert (outbox.waiting, outbox.in_flight) == (1, 1)
    assert outbox.confirmed(1, multiple=False, ack=True, now=1.0) == [Settled(A, "confirmed")]
    assert outbox.unblocked(2.0) == [Publish(B)]
    assert outbox.confirmed(2, multiple=False, ack=True, now=1.0) == [Settled(B, "confirmed")]


def test_a_channel_that_comes_up_blocked_publishes_when_it_is_unblocked() -> None:
    outbox = Outbox()
    outbox.add(A, 0.0)
    outbox.blocked()
    assert outbox.up(1.0) == []
    assert outbox.unblocked(2.0) == [Publish(A)]


def test_the_end_of_an_alarm_publishes_nothing_without_a_channel() -> None:
    outbox = Outbox()
    outbox.add(A, 0.0)
    outbox.blocked()
    assert outbox.unblocked(1.0) == []
    assert outbox.waiting == 1


def test_a_letter_that_waits_longer_than_its_patience_expires() -> None:
    outbox = Outbox()
    hasty, patient = letter("hasty", 5, expires=10.0), letter("patient", expires=20.0)
    outbox.add(patient, 0.0)
    outbox.add(A, 0.0)
    outbox.add(hasty, 0.0)
    assert outbox.tick(9.9) == []
    assert outbox.tick(10.0) == [Settled(hasty, "expired")]
    assert outbox.size == bytes_of(1, 1)
    assert outbox.tick(10_000.0) == [Settled(patient, "expired")]
    assert outbox.waiting == 1


@pytest.mark.parametrize("event", ["up", "unblocked"])
def test_a_letter_whose_patience_is_over_is_not_published_late(event: str) -> None:
    outbox = Outbox() if event == "up" else up()
    outbox.blocked()
    hasty = letter("hasty", expires=10.0)
    outbox.add(hasty, 0.0)
    outbox.add(A, 0.0)
    if event == "up":
        outbox.unblocked(0.0)
    actions = outbox.up(10.0) if event == "up" else outbox.unblocked(10.0)
    assert actions == [Settled(hasty, "expired"), Publish(A)]


def test_a_letter_that_need_not_wait_is_published_however_short_its_patience() -> None:
    up(letter("hasty", expires=-1.0))


def test_a_letter_that_was_published_before_is_unconfirmed_when_its_patience_is_over() -> None:
    hasty = letter("hasty", expires=10.0)
    outbox = up(hasty)
    assert outbox.tick(20.0) == []  # under way: it waits for nothing but its confirmation
    outbox.down(None, 20.0)
    assert outbox.tick(20.0) == [Settled(hasty, "unconfirmed")]


def test_a_letter_that_is_not_confirmed_in_time_is_unconfirmed() -> None:
    outbox = up(A, now=100.0)
    outbox.add(B, 101.0)
    assert outbox.tick(129.9) == []
    assert outbox.tick(130.0) == [Settled(A, "unconfirmed")]
    assert outbox.confirmed(1, multiple=False, ack=True, now=130.0) == []
    assert outbox.tick(131.0) == [Settled(B, "unconfirmed")]
    assert (outbox.in_flight, outbox.size) == (0, 0)


def test_a_letter_that_was_returned_and_never_confirmed_was_returned() -> None:
    outbox = up(A)
    outbox.returned("a", 312, 0.0)
    assert outbox.tick(30.0) == [Settled(A, "returned")]


def test_time_without_a_channel_does_not_count_against_the_broker() -> None:
    outbox = up(A)
    outbox.down(None, 29.0)
    assert outbox.tick(1000.0) == []
    outbox.up(1000.0)
    assert outbox.tick(1029.9) == []
    assert outbox.tick(1030.0) == [Settled(A, "unconfirmed")]


def test_time_in_which_the_broker_is_blocked_does_not_count_against_it() -> None:
    outbox = up(A)
    outbox.blocked()
    assert outbox.tick(3600.0) == []
    outbox.unblocked(3600.0)
    assert outbox.tick(3629.9) == []
    assert outbox.tick(3630.0) == [Settled(A, "unconfirmed")]


def test_a_letter_under_way_to_a_blocked_broker_is_given_up_with_its_patience() -> None:
    hasty = letter("hasty", expires=10.0)
    outbox = up(hasty, A)
    outbox.blocked()
    assert outbox.tick(9.9) == []
    assert outbox.tick(10.0) == [Settled(hasty, "unconfirmed")]
    assert outbox.in_flight == 1


def test_it_is_full_beyond_its_limit_with_what_waits_and_what_is_under_way() -> None:
    outbox = up(letter("a", 6), limit=bytes_of(6, 4, 0))
    outbox.blocked()
    outbox.add(letter("b", 4), 0.0)
    outbox.add(letter("c", 0), 0.0)
    assert (outbox.size, outbox.full) == (bytes_of(6, 4, 0), False)
    outbox.add(letter("d", 0), 0.0)
    assert (outbox.size, outbox.full) == (bytes_of(6, 4, 0, 0), True)
    outbox.confirmed(1, multiple=False, ack=True, now=0.0)
    assert (outbox.size, outbox.full) == (bytes_of(4, 0, 0), False)


def test_the_limit_is_256_mebibytes() -> None:
    outbox = Outbox()
    outbox.add(letter("a", 256 * 1024 * 1024 - OVERHEAD), 0.0)
    assert not outbox.full
    outbox.add(letter("b"), 0.0)
    assert outbox.full


def test_ids_are_unique_among_the_letters_that_are_here() -> None:
    outbox = up(A)
    with pytest.raises(ValueError, match="holds a letter with the id 'a' already: ids must be unique"):
        outbox.add(letter("a", 5), 0.0)
    assert outbox.size == bytes_of(1)
    outbox.confirmed(1, multiple=False, ack=True, now=0.0)
    assert outbox.add(A, 0.0) == [Publish(A)]


def test_a_letter_that_waits_can_be_withdrawn() -> None:
    outbox = Outbox()
    outbox.add(A, 0.0)
    outbox.add(B, 0.0)
    assert outbox.withdraw("a")
    assert not outbox.withdraw("a")
    assert outbox.size == bytes_of(1)
    assert outbox.up(0.0) == [Publish(B)]
    assert not outbox.withdraw("b")
    assert outbox.confirmed(1, multiple=False, ack=True, now=0.0) == [Settled(B, "confirmed")]


def test_a_letter_that_cannot_be_written_is_refused_and_nothing_is_published_until_the_next_channel() -> None:
    outbox = up(A, B, C)
    assert outbox.spoilt("b") == [Settled(B, "refused")]
    assert outbox.add(letter("d"), 0.0) == []
    assert outbox.confirmed(1, multiple=True, ack=True, now=0.0) == [Settled(A, "confirmed")]
    outbox.down(200, 1.0)
    assert outbox.up(2.0) == [Publish(C), Publish(letter("d"))]
    assert outbox.spoilt("unknown") == []
