"""The outbox beside a simulated channel, in any order of events: what must hold whatever happens.

Hypothesis chooses when letters are added and withdrawn, what the broker says to each, when it is blocked,
when the channel is lost, and when time passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ollama_ext.fleet.messages import Properties
from ollama_ext.fleet.outbox import OVERHEAD, Letter, Outbox, Publish, Settled

if TYPE_CHECKING:
    from ollama_ext.fleet.outbox import Action, How

LIMIT, TIMEOUT = 5 * OVERHEAD + 50, 30.0
BAD = (403, 404, 406, 501)
ADDRESSES = (("", "amq.gen-1"), ("", "amq.rabbitmq.reply-to.x"), ("llm.request", "llm.request.ollama.chat.a"))


class World(RuleBasedStateMachine):
    """A broker, a channel to it, and those who wait for the fate of their letters."""

    def __init__(self) -> None:
        """Start without a channel."""
        super().__init__()
        self.outbox = Outbox(LIMIT, TIMEOUT)
        self.now = 0.0
        self.up = self.blocked = False
        self.added: list[Letter] = []  # that are in the outbox, in their order
        self.settled: dict[str, How] = {}
        self.channel: dict[int, Letter] = {}  # unconfirmed, by number
        self.since: dict[int, float] = {}
        self.number = 0
        self.tried: set[str] = set()
        self.no_queue: set[str] = set()

    def do(self, actions: list[Action], *, lately: bool = False) -> list[Settled]:
        """Check and do what the outbox says; return what it has settled."""
        settled: list[Settled] = []
        for action in actions:
            if isinstance(action, Publish):
                assert self.up
                assert not self.blocked
                letter = action.letter
                assert letter in self.added
                assert (
                    letter not in self.channel.values()
                )  # its fate is unknown: published twice on no channel
                later = self.added[self.added.index(letter) + 1 :]
                assert not any(other in self.channel.values() for other in later)
                assert lately or not impatient(letter, self.now)
                self.number += 1
                self.channel[self.number] = letter
                self.since[self.number] = self.now
                self.tried.add(letter.id)
            else:
                settled.append(action)
                assert action.letter in self.added
                self.added.remove(action.letter)
                self.settled[action.letter.id] = action.how
                self.channel = {n: letter for n, letter in self.channel.items() if letter != action.letter}
        return settled

    def fates(self, actions: list[Action]) -> dict[str, How]:
        """Do what the outbox says; return what became of which letter."""
        return {settled.letter.id: settled.how for settled in self.do(actions)}

    def expected(self, letter: Letter, *, ack: bool) -> How:
        """Return the fate of a letter that the broker has decided on."""
        if not ack:
            return "nacked"
        return "returned" if letter.id in self.no_queue else "confirmed"

    def over(self) -> dict[str, How]:
        """Return the letters that wait and whose patience is over."""
        return {
            letter.id: "unconfirmed" if letter.id in self.tried else "expired"
            for letter in self.added
            if letter not in self.channel.values() and impatient(letter, self.now)
        }

    @rule(
        size=st.integers(0, 20),
        patience=st.sampled_from((None, None, 0.0, 5.0, 40.0)),
        to=st.sampled_from(ADDRESSES),
    )
    def add(self, size: int, patience: float | None, to: tuple[str, str]) -> None:
        """A letter is added: it is published now if it can be."""
        name = str(len(self.settled) + len(self.added))
        letter = Letter(
            id=name,
            exchange=to[0],
            routing_key=to[1],
            body=b"x" * size,
            properties=Properties(message_id=name),
            expires=None if patience is None else self.now + patience,
        )
        self.added.append(letter)
        assert self.do(self.outbox.add(letter, self.now), lately=True) == []
        assert (letter in self.channel.values()) == (self.up and not self.blocked)

    @precondition(lambda self: self.added)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        """A letter is withdrawn: nothing more is heard of it, or it was too late."""
        letter = data.draw(st.sampled_from(self.added))
        assert self.outbox.withdraw(letter.id) is (letter not in self.channel.values())
        if letter not in self.channel.values():
            self.added.remove(letter)
            self.settled[letter.id] = "expired"

    @precondition(lambda self: not self.up)
    @rule()
    def open(self) -> None:
        """A channel is there: all that waits is published, but for what has waited too long."""
        self.up, self.number = True, 0
        over = {} if self.blocked else self.over()
        assert self.fates(self.outbox.up(self.now)) == over

    @precondition(lambda self: self.up)
    @rule(code=st.sampled_from((None, 200, 320, *BAD)))
    def lose(self, code: int | None) -> None:
        """The channel is lost: the returned ones are settled, and one is blamed if one was bad."""
        self.up = False
        lost, self.channel = self.channel, {}
        expected: dict[str, How] = {each.id: "returned" for each in lost.values() if each.id in self.no_queue}
        unknown = [each for each in lost.values() if each.id not in self.no_queue]
        if unknown and code in BAD:
            largest = max(len(each.body) for each in unknown)
            expected[next(each.id for each in unknown if len(each.body) == largest)] = "refused"
        assert self.fates(self.outbox.down(code, self.now)) == expected

    @precondition(lambda self: self.up and not self.blocked)
    @rule()
    def block(self) -> None:
        """The broker takes no messages."""
        self.blocked = True
        self.outbox.blocked()

    @precondition(lambda self: self.blocked)
    @rule()
    def unblock(self) -> None:
        """It does again."""
        self.blocked = False
        self.since = dict.fromkeys(self.since, self.now)
        over = self.over() if self.up else {}
        assert self.fates(self.outbox.unblocked(self.now)) == over

    @precondition(lambda self: self.channel)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        """The broker has no queue for a letter."""
        letter = data.draw(st.sampled_from(list(self.channel.values())))
        assert self.outbox.returned(letter.id, 312, self.now) == []
        if not letter.routing_key.startswith("amq.rabbitmq.reply-to."):
            self.no_queue.add(letter.id)

    @precondition(lambda self: self.up)
    @rule(data=st.data(), multiple=st.booleans(), ack=st.booleans())
    def confirm(self, data: st.DataObject, multiple: bool, ack: bool) -> None:
        """The broker decides on one letter, or on all up to one; perhaps on some that were given up."""
        tag = data.draw(st.integers(0 if multiple else 1, self.number + 1))
        meant = [
            letter
            for number, letter in self.channel.items()
            if number == tag or (multiple and (number < tag or tag == 0))
        ]
        expected = {letter.id: self.expected(letter, ack=ack) for letter in meant}
        assert self.fates(self.outbox.confirmed(tag, multiple, ack, self.now)) == expected

    @precondition(lambda self: self.up and self.channel)
    @rule(data=st.data())
    def spoil(self, data: st.DataObject) -> None:
        """A letter cannot be written; the channel is closed because of it."""
        letter = data.draw(st.sampled_from(list(self.channel.values())))
        self.up = False
        assert self.fates(self.outbox.spoilt(letter.id)) == {letter.id: "refused"}
        self.wait(0.0)
        self.up = True
        self.lose(200)

    @rule(seconds=st.sampled_from((0.0, 1.0, 6.0, 29.0, 30.0, 100.0)))
    def wait(self, seconds: float) -> None:
        """Time passes: what has waited too long is settled, and nothing else."""
        self.now += seconds
        expected = {**self.over(), **self.late()}
        assert self.fates(self.outbox.tick(self.now)) == expected

    def late(self) -> dict[str, How]:
        """Return the letters whose confirmation is not waited for any longer."""
        return {
            letter.id: "returned" if letter.id in self.no_queue else "unconfirmed"
            for number, letter in self.channel.items()
            if (impatient(letter, self.now) if self.blocked else self.now - self.since[number] >= TIMEOUT)
        }

    @invariant()
    def every_letter_is_waiting_or_under_way_or_settled(self) -> None:
        """Once: a second Settled of a letter fails where it is done."""
        assert self.outbox.in_flight == len(self.channel)
        assert self.outbox.waiting == len(self.added) - len(self.channel)

    @invariant()
    def bytes_are_those_of_the_letters_that_are_here(self) -> None:
        """Exactly, so that it is not full for ever after."""
        assert self.outbox.size == sum(OVERHEAD + len(letter.body) for letter in self.added)
        assert self.outbox.full == (self.outbox.size > LIMIT)

    @invariant()
    def nothing_waits_that_could_be_published(self) -> None:
        """A forgotten letter would wait for the next one."""
        if self.up and not self.blocked:
            assert self.outbox.waiting == 0

    def teardown(self) -> None:
        """At last everything is settled."""
        self.now += 1000.0
        self.blocked = False
        self.do(self.outbox.unblocked(self.now), lately=True)
        if not self.up:
            self.up, self.number = True, 0
            self.do(self.outbox.up(self.now), lately=True)
        self.do(self.outbox.tick(self.now + TIMEOUT))
        assert self.added == []
        assert (self.outbox.size, self.outbox.waiting, self.outbox.in_flight) == (0, 0, 0)


def impatient(letter: Letter, now: float) -> bool:
    """Return whether a letter has waited long enough."""
    return letter.expires is not None and letter.expires <= now


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
