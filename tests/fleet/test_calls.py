"""The calls of a caller: each is sent where it can be, and ends once, by a reply or by an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ollama_ext.fleet.calls import Action, Call, Calls, End, Send, Withdraw
from ollama_ext.fleet.errors import (
    BrokerBlocked,
    BrokerRefused,
    BrokerUnreachable,
    FleetBusy,
    ModelNotServed,
    RequestTooLarge,
)
from ollama_ext.fleet.messages import Reply
from ollama_ext.fleet.outbox import How

if TYPE_CHECKING:
    from collections.abc import Sequence

REPLY = Reply(result={})
HOWS: tuple[How, ...] = get_args(How)
FIRST, SECOND = "llm.request.ollama.chat.m", "llm.request.ollama.chat.m.latest"


def ready() -> Calls:
    """Return calls with a broker and a queue for replies."""
    calls = Calls()
    calls.up()
    calls.ready()
    return calls


def begun(calls: Calls, name: str = "1", *queues: str, now: float = 0.0) -> Call:
    call = Call(name, queues or (FIRST,), "m")
    calls.begin(call, now)
    return call


def error_of(actions: Sequence[Action]) -> Any:
    (end,) = [each for each in actions if isinstance(each, End)]
    return end.outcome


# -- sending


def test_a_call_is_sent_at_once_where_there_is_a_queue_for_its_reply() -> None:
    call = Call("1", [FIRST], "m")
    assert ready().begin(call, 0) == [Send(call)]


def test_calls_wait_for_the_queue_of_their_replies_and_are_then_sent_in_their_order() -> None:
    calls = Calls()
    first, second = begun(calls, "1"), begun(calls, "2")
    assert calls.ready() == [Send(first), Send(second)]


def test_a_queue_for_replies_that_was_declared_anew_sends_nothing_again() -> None:
    calls = ready()
    begun(calls)
    assert calls.ready() == []


def test_a_call_that_nobody_waits_for_is_taken_back_once() -> None:
    calls = ready()
    call = begun(calls)
    assert calls.forget(call) == [Withdraw(call)]
    assert calls.forget(call) == []
    assert len(calls) == 0


# -- what became of the message


def test_a_model_without_a_queue_is_looked_for_under_its_other_spelling() -> None:
    calls = ready()
    call = begun(calls, "1", FIRST, SECOND)
    assert calls.settled("1", "returned", "NO_ROUTE") == [Send(call)]
    assert call.queue == SECOND
    assert calls.settled("1", "confirmed", "") == []
    assert calls.replied("1", REPLY) == [End(call, REPLY)]


def test_a_model_without_a_queue_under_any_spelling_is_an_error_that_names_both() -> None:
    calls = ready()
    begun(calls, "1", FIRST, SECOND)
    calls.settled("1", "returned", "NO_ROUTE")
    error = error_of(calls.settled("1", "returned", "NO_ROUTE"))
    assert isinstance(error, ModelNotServed)
    assert f"{FIRST} and {SECOND}" in error.message


def test_a_missing_exchange_says_that_no_worker_ever_ran() -> None:
    calls = ready()
    begun(calls, "1", FIRST, SECOND)
    error = error_of(calls.settled("1", "refused", "NOT_FOUND - no exchange 'llm.request' in vhost '/'"))
    assert isinstance(error, ModelNotServed)
    assert "no worker has ever run here" in error.message


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ("nacked", FleetBusy, "full"),
        ("refused", RequestTooLarge, "larger than configured max size"),
        ("expired", BrokerUnreachable, "could not be sent"),
    ],
)
def test_a_message_that_the_broker_does_not_have_ends_the_call_with_the_reason(
    how: How, error: type[Exception], says: str
) -> None:
    calls = ready()
    begun(calls)
    found = error_of(calls.settled("1", how, "message size is larger than configured max size"))
    assert isinstance(found, error)
    assert says in str(found)
    assert len(calls) == 0


def test_a_message_of_which_nobody_knows_may_still_be_replied_to() -> None:
    calls = ready()
    call = begun(calls)
    assert calls.settled("1", "unconfirmed", "") == []
    assert calls.replied("1", REPLY) == [End(call, REPLY)]


def test_a_reply_that_comes_before_the_confirmation_ends_the_call() -> None:
    calls = ready()
    call = begun(calls)
    assert calls.replied("1", REPLY) == [End(call, REPLY)]
    assert calls.settled("1", "confirmed", "") == []


def test_second_replies_and_those_that_are_nobodys_are_counted_and_dropped() -> None:
    calls = ready()
    begun(calls)
    calls.replied("1", REPLY)
    assert calls.replied("1", REPLY) == []
    assert calls.replied(None, REPLY) == []
    assert calls.replied("other", REPLY) == []
    assert calls.strays == 3


# -- waiting for a broker


def test_a_call_is_given_up_when_there_was_no_broker_for_ten_seconds_and_says_why() -> None:
    calls = Calls()
    calls.down("amqp://x cannot be reached: Connection refused", 100.0)
    call = begun(calls, now=100.0)
    assert calls.tick(109.9) == []
    actions = calls.tick(110.0)
    assert actions[0] == Withdraw(call)
    assert isinstance(error_of(actions), BrokerUnreachable)
    assert "Connection refused" in str(error_of(actions))


def test_the_ten_seconds_of_a_call_begin_with_the_call() -> None:
    calls = Calls()
    calls.down("away", 0.0)
    begun(calls, now=100.0)
    assert calls.tick(105.0) == []


def test_failed_tries_do_not_put_off_when_a_call_is_given_up() -> None:
    calls = Calls()
    for second in range(10):
        calls.down("refused", float(second))
    begun(calls, now=0.0)
    assert calls.tick(10.0)


def test_a_call_that_the_broker_has_waits_on_while_the_broker_is_away() -> None:
    calls = ready()
    begun(calls)
    calls.settled("1", "confirmed", "")
    calls.down("away", 0.0)
    assert calls.tick(1000.0) == []


def test_a_broker_that_came_back_in_time_is_as_good_as_one_that_was_never_away() -> None:
    calls = Calls()
    calls.down("away", 0.0)
    begun(calls)
    calls.up()
    assert calls.tick(1000.0) == []


def test_a_call_is_given_up_when_the_broker_took_no_messages_for_thirty_seconds() -> None:
    calls = ready()
    calls.blocked(on=True, now=0.0)
    begun(calls, now=0.0)
    assert calls.tick(29.9) == []
    assert isinstance(error_of(calls.tick(30.0)), BrokerBlocked)


def test_a_broker_that_takes_messages_again_in_time_ends_nothing() -> None:
    calls = ready()
    calls.blocked(on=True, now=0.0)
    begun(calls, now=0.0)
    calls.blocked(on=False, now=20.0)
    assert calls.tick(1000.0) == []


def test_a_broker_that_refuses_us_ends_what_it_has_not_got_and_nothing_else() -> None:
    calls = ready()
    accepted, waiting = begun(calls, "1"), begun(calls, "2")
    calls.settled("1", "confirmed", "")
    refusal = BrokerRefused("no such user")
    assert calls.refused(refusal) == [End(waiting, refusal)]
    assert calls.replied(accepted.id, REPLY) == [End(accepted, REPLY)]


# -- the law


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens, in whatever order: a call ends once, or is forgotten."""

    def __init__(self) -> None:
        """Start with nothing."""
        super().__init__()
        self.calls = Calls()
        self.now = 0.0
        self.begun: dict[str, Call] = {}
        self.sent: dict[str, list[str]] = {}
        self.ended: set[str] = set()
        self.forgotten: set[str] = set()

    def do(self, actions: Sequence[Action]) -> None:
        """Do what was said, and see that it can be."""
        for action in actions:
            name = action.call.id
            assert name in self.begun
            match action:
                case Send(call):
                    assert name not in self.ended | self.forgotten, "sent after its end"
                    assert call.queue not in self.sent[name], "sent to the same queue twice"
                    self.sent[name].append(call.queue)
                case End():
                    assert name not in self.ended, "ended twice"
                    assert name not in self.forgotten, "ended after nobody waited any more"
                    self.ended.add(name)
                case Withdraw():
                    pass

    @property
    def open(self) -> list[str]:
        """Those that wait."""
        return [name for name in self.begun if name not in self.ended | self.forgotten]

    @rule(queues=st.integers(1, 2))
    def begin(self, queues: int) -> None:
        """Somebody calls."""
        name = str(len(self.begun))
        call = self.begun[name] = Call(name, [FIRST, SECOND][:queues], "m")
        self.sent[name] = []
        self.do(self.calls.begin(call, self.now))

    @precondition(lambda self: self.begun)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        """Nobody waits any more."""
        name = data.draw(st.sampled_from(sorted(self.begun)))
        actions = self.calls.forget(self.begun[name])
        assert bool(actions) == (name in self.open)
        self.do(actions)
        if name not in self.ended:
            self.forgotten.add(name)

    @precondition(lambda self: any(self.sent.values()))
    @rule(data=st.data(), how=st.sampled_from(HOWS))
    def settled(self, data: st.DataObject, how: How) -> None:
        """The fate of something that was sent is known."""
        name = data.draw(st.sampled_from(sorted(name for name, queues in self.sent.items() if queues)))
        self.do(self.calls.settled(name, how, data.draw(st.sampled_from(["", "no exchange 'x'"]))))

    @rule(name=st.none() | st.integers(0, 5).map(str))
    def replied(self, name: str | None) -> None:
        """Something came on the reply queue."""
        strays, waits = self.calls.strays, name in self.open
        self.do(self.calls.replied(name, REPLY))
        assert (self.calls.strays == strays) == waits
        assert not waits or name in self.ended

    @rule()
    def ready(self) -> None:
        """There is a queue for replies."""
        self.do(self.calls.ready())
        assert all(self.sent[name] for name in self.open), "a call that can be sent waits"

    @rule()
    def up(self) -> None:
        """There is a broker."""
        self.calls.up()

    @rule()
    def down(self) -> None:
        """There is none."""
        self.calls.down("away", self.now)

    @rule(on=st.booleans())
    def blocked(self, on: bool) -> None:
        """It takes no messages, or does again."""
        self.calls.blocked(on, self.now)

    @rule()
    def refused(self) -> None:
        """It refuses us."""
        self.do(self.calls.refused(BrokerRefused("no")))

    @rule(seconds=st.sampled_from([0.5, 9.0, 31.0]))
    def tick(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.do(self.calls.tick(self.now))

    @invariant()
    def every_call_is_open_or_over(self) -> None:
        """None is lost: what has not ended is still there to be ended."""
        assert len(self.calls) == len(self.open)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
