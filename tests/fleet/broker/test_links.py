"""Connections that come back, and channels: on a thread of their own, with a real broker."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import pytest
from background import wait_until
from linked_brokers import PATIENCE, Linked, linked, opened
from rabbitmq import free_ports
from sockets import open_files

from ollama_ext.fleet import links
from ollama_ext.fleet.declaring import look
from ollama_ext.fleet.loop import Loop
from ollama_ext.fleet.messages import Properties
from ollama_ext.fleet.questions import NO_CODE, Answer, Conversation, Question, QueueDeclare

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from amqp_proxy import AmqpProxy
    from rabbitmq_admin import Admin
    from virtual_hosts import VirtualHost

    from ollama_ext.fleet.channels import Message


@pytest.fixture
def link(vhost: VirtualHost) -> Iterator[Linked]:
    """Open a link."""
    with linked(vhost.url) as made:
        made.wait("up")
        yield made


# -- channels


def test_cancelling_while_messages_are_under_way_rejects_none(link: Linked, admin: Admin) -> None:
    # Pika rejects them by itself, and each rejection counts as a failed delivery: `Channel.cancel` keeps it
    # from that by way of pika's private set `_cancelled`. If this fails after an update of pika, look there.
    count = 300
    queue = admin.declare("cancelled")
    for number in range(count):
        admin.publish(queue, str(number).encode())
    channel = link.channel()
    came: list[Message] = []
    late: Future[int] = Future()

    def delivered(message: Message) -> None:
        came.append(message)
        if len(came) == 1:
            channel.cancel(queue, lambda: late.set_result(len(came) - 1))

    link.do(lambda: channel.consume(queue, count, delivered, lambda: None, lambda: None))
    assert late.result(PATIENCE) > 0, "nothing was under way, so this has shown nothing"
    assert [message.body for message in came] == [str(number).encode() for number in range(len(came))]
    for message in came:
        link.loop.call(channel.ack, message.tag)
    link.converse(look(queue))  # whose answer comes after what was sent before

    rest = admin.get_all(queue)
    assert len(came) + len(rest) == count
    assert not any(message.redelivered or message.headers.get("x-delivery-count") for message in rest)


def test_a_cancelled_consumer_can_be_followed_by_another_one(link: Linked, admin: Admin) -> None:
    queue = admin.declare("again")
    channel = link.channel()
    came: list[bytes] = []

    def consume_one(text: bytes) -> None:
        link.do(
            lambda: channel.consume(
                queue, 1, lambda message: came.append(message.body), lambda: None, lambda: None
            )
        )
        admin.publish(queue, text)
        wait_until(lambda: came[-1:] == [text])
        cancelled = threading.Event()
        link.do(lambda: channel.cancel(queue, cancelled.set))
        assert cancelled.wait(PATIENCE)
        link.do(lambda: None)

    consume_one(b"one")
    consume_one(b"two")
    assert came == [b"one", b"two"]


def test_a_consumer_of_a_queue_that_is_deleted_is_told_so_and_the_channel_lives(
    link: Linked, admin: Admin
) -> None:
    queue, other = admin.declare("deleted"), admin.declare("stays")
    channel = link.channel()
    ended, began = threading.Event(), threading.Event()
    link.do(lambda: channel.consume(queue, 1, lambda _: None, began.set, ended.set))
    assert began.wait(PATIENCE)
    admin.delete(queue)
    assert ended.wait(PATIENCE)
    answered = threading.Event()
    link.do(lambda: channel.get(other, lambda _: None, answered.set))
    assert answered.wait(PATIENCE)


def test_messages_come_as_they_were_published(link: Linked, admin: Admin) -> None:
    queue = admin.declare("whole")
    admin.publish(queue, b"\x00\xff")
    channel = link.channel()
    came: list[Message] = []
    link.do(lambda: channel.get(queue, came.append, lambda: None))
    wait_until(lambda: came)
    assert (came[0].body, came[0].redelivered, came[0].routing_key) == (b"\x00\xff", False, queue)
    link.do(lambda: channel.requeue(came[0].tag))
    link.do(lambda: channel.get(queue, came.append, lambda: None))
    wait_until(lambda: len(came) == 2)
    assert came[1].redelivered
    assert came[1].properties.headers["x-delivery-count"] == 1
    link.do(lambda: channel.reject(came[1].tag))


@pytest.mark.parametrize("seed", range(6))
def test_what_was_acknowledged_is_gone_and_nothing_else_though_the_link_is_closed_at_once(
    seed: int, vhost: VirtualHost, admin: Admin
) -> None:
    # Acknowledgements are joined: one may stand for all the deliveries before it. (With more than 32 of them
    # under way RabbitMQ holds some back, and forgets those when the channel ends; workers have fewer slots.)
    rng = Random(seed)  # noqa: S311 - chooses what a test settles
    count = 20
    queue = admin.declare(f"acknowledged-{seed}")
    for number in range(count):
        admin.publish(queue, str(number).encode())
    came: dict[int, Message] = {}
    with linked(vhost.url) as link:
        link.wait("up")
        channel = link.channel()

        def delivered(message: Message) -> None:
            came[int(message.body)] = message

        link.do(lambda: channel.consume(queue, count, delivered, lambda: None, lambda: None))
        wait_until(lambda: len(came) == count)
        kept = set(rng.sample(range(count), rng.choice([0, 1, 5, 15])))
        given_back = set(rng.sample(sorted(kept), len(kept) // 2))
        order = [*(set(range(count)) - kept), *given_back]
        rng.shuffle(order)
        rounds = [order[start : start + 5] for start in range(0, len(order), 5)]

        def settle(numbers: list[int]) -> None:
            for number in numbers:
                settle_one = channel.requeue if number in given_back else channel.ack
                settle_one(came[number].tag)

        link.do(lambda: channel.cancel(queue, lambda: None))
        for numbers in rounds[:-1]:
            link.do(partial(settle, numbers))

        def settle_and_close() -> None:
            settle(rounds[-1])
            link.link.close(lambda: None)

        link.do(settle_and_close)
    rest = [int(message.body) for message in admin.wait_for(queue, len(kept))] if kept else []
    assert sorted(rest) == sorted(kept)
    assert admin.count(queue) == 0


@pytest.mark.parametrize("mebibytes", [0, 1, 8])
def test_a_message_arrives_whole_that_is_longer_than_the_system_sends_at_once(
    mebibytes: int, link: Linked, admin: Admin
) -> None:
    queue = admin.declare("long")
    bodies = [bytes([number]) * (mebibytes << 20) + b"end" for number in range(3)]
    channel = link.channel()

    def publish() -> None:
        for body in bodies:
            channel.publish("", queue, body, Properties())

    link.do(publish)
    assert [message.body for message in admin.wait_for(queue, 3)] == bodies
    (answer,) = link.converse(asked(QueueDeclare("missing", passive=True)))
    assert answer.code == 404


def test_what_is_done_on_a_closed_channel_does_nothing(link: Linked) -> None:
    channel = link.channel()
    link.do(channel.close)
    wait_until(lambda: link.do(lambda: not channel.is_open))
    for call in (
        lambda: channel.ack(1),
        lambda: channel.requeue(1),
        lambda: channel.reject(1),
        lambda: channel.cancel("q", lambda: None),
        lambda: channel.get("q", lambda _: None, lambda: None),
        lambda: channel.consume("q", 1, lambda _: None, lambda: None, lambda: None),
        channel.close,
    ):
        link.do(call)
    assert link.loop.failures == 0
    assert link.told == ["up"]


# -- conversations


def asked(*questions: Question) -> Generator[Question, Answer, list[Answer]]:
    answers: list[Answer] = []
    for question in questions:
        answer = yield question
        answers.append(answer)
    return answers


def test_a_no_is_an_answer_and_the_conversation_goes_on(link: Linked) -> None:
    passive, declared = link.converse(
        asked(QueueDeclare("new", passive=True), QueueDeclare("new", {"x-queue-type": "quorum"}))
    )
    assert (passive.code, "no queue 'new'" in passive.text) == (404, True)
    assert declared.ok
    (other,) = link.converse(asked(QueueDeclare("new", {"x-queue-type": "classic"})))
    assert other.code == 406


def test_conversations_are_held_one_after_the_other(link: Linked) -> None:
    ended: list[int] = []
    finished = threading.Event()

    def hold(number: int) -> None:
        steps = asked(*[QueueDeclare(f"missing-{number}", passive=True)] * 3)
        link.link.converse(Conversation(steps, lambda _: ended.append(number)))

    def begin() -> None:
        for number in range(5):
            hold(number)
        link.link.converse(Conversation(look("missing"), lambda _: finished.set()))

    link.do(begin)
    assert finished.wait(PATIENCE)
    assert ended == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("fails", ["in its steps", "at its end"])
def test_a_conversation_that_fails_does_not_keep_others_from_being_held(fails: str, link: Linked) -> None:
    def steps() -> Generator[Question, Answer, None]:
        yield QueueDeclare("missing", passive=True)
        if fails == "in its steps":
            raise RuntimeError("a bug")

    def ended(_: None) -> None:
        raise RuntimeError("a bug")

    link.loop.call(link.link.converse, Conversation(steps(), ended))
    (answer,) = link.converse(asked(QueueDeclare("missing", passive=True)))
    assert answer.code == 404
    assert link.loop.failures == 1


def test_a_question_that_amqp_cannot_hold_is_answered_with_a_no_and_the_next_one_can_be_asked(
    link: Linked, caplog: pytest.LogCaptureFixture
) -> None:
    too_long, missing = link.converse(
        asked(QueueDeclare("x" * 300, passive=True), QueueDeclare("missing", passive=True))
    )
    assert (too_long.code, missing.code) == (NO_CODE, 404)
    assert "a question cannot be asked in AMQP" in caplog.text
    (answer,) = link.converse(asked(QueueDeclare("missing", passive=True)))
    assert answer.code == 404
    assert link.told == ["up"]


def test_a_conversation_of_a_lost_connection_ends_and_the_next_one_is_held(
    amqp_proxy: AmqpProxy, vhost: VirtualHost
) -> None:
    with linked(amqp_proxy.through(vhost.url)) as link:
        link.wait("up")
        abandoned: list[bool] = []

        def steps() -> Generator[Question, Answer, None]:
            try:
                yield QueueDeclare("missing", passive=True)
            finally:
                abandoned.append(True)

        amqp_proxy.blackhole()
        link.do(lambda: link.link.converse(Conversation(steps(), lambda _: None)))
        amqp_proxy.pass_through()
        amqp_proxy.reset_all()
        wait_until(lambda: link.told[-1] == "up" and len(link.told) == 3)
        (answer,) = link.converse(asked(QueueDeclare("missing", passive=True)))
        assert answer.code == 404
        assert abandoned == [True]


# -- connections


def test_a_lost_connection_comes_back_and_its_channels_are_told_their_end_first(
    amqp_proxy: AmqpProxy, vhost: VirtualHost
) -> None:
    with linked(amqp_proxy.through(vhost.url)) as link:
        link.wait("up")
        told: list[str] = []
        link.do(
            lambda: link.link.channel(lambda _: None, lambda _, _why: told.extend(["closed", *link.told]))
        )
        amqp_proxy.reset_all()
        link.wait("up", "down", "up")
        assert told == ["closed", "up"]
        assert link.link.losses == 1
        assert not link.reasons[0].final


def test_every_byte_of_the_handshake_may_be_the_last_and_none_counts_as_a_refusal(
    amqp_proxy: AmqpProxy, vhost: VirtualHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "_FIRST_WAIT", 0.001)
    monkeypatch.setattr(links, "_LONGEST_WAIT", 0.001)
    url = amqp_proxy.through(vhost.url)
    with linked(url) as link:
        link.wait("up")
        whole = amqp_proxy.connections[0]
    cuts = 0
    for count in range(0, whole.to_client, 15):
        amqp_proxy.cut_next(to_client=count)
        cuts += 1
    for count in range(0, whole.to_server, 15):
        amqp_proxy.cut_next(to_server=count)
        cuts += 1
    with linked(url) as link:
        wait_until(lambda: len(amqp_proxy.connections) == 1 + cuts + 1 and link.told[-1:] == ["up"])
        assert len(link.reasons) == cuts
        assert not any(reason.final for reason in link.reasons), link.reasons


def test_a_name_that_cannot_be_resolved_is_tried_again_and_says_which(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links, "_FIRST_WAIT", 0.001)
    with linked("amqp://nowhere.invalid:5672/") as link:
        wait_until(lambda: link.told == ["failed"] * len(link.told) and len(link.told) >= 3)
        assert "nowhere.invalid" in link.reasons[0].text
        assert not link.reasons[0].final


def test_where_nobody_listens_it_tries_again_until_somebody_does(
    amqp_proxy: AmqpProxy, vhost: VirtualHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "_FIRST_WAIT", 0.001)
    amqp_proxy.refuse()
    with linked(amqp_proxy.through(vhost.url), others=1) as link:
        wait_until(lambda: len(link.told) >= 3)
        assert "Connection refused" in link.reasons[0].text
        amqp_proxy.pass_through()
        wait_until(lambda: link.told[-1] == "up")


def test_the_brokers_of_a_cluster_are_tried_in_turn(vhost: VirtualHost) -> None:
    with linked(f"amqp://127.0.0.1:{free_ports(1)[0]}/", vhost.url) as link:
        link.wait("failed", "up")


def test_a_wrong_password_and_a_missing_virtual_host_are_refusals(vhost: VirtualHost) -> None:
    for url, text in (
        (vhost.url_for(password="wrong"), "refuses user 'guest': wrong password"),  # noqa: S106 - it is wrong
        (vhost.rabbit.url(vhost="nowhere"), "does not let user 'guest' into this virtual host"),
    ):
        with linked(url) as link:
            link.wait("failed")
            assert link.reasons[0].final
            assert text in link.reasons[0].text
            assert "wrong@" not in link.reasons[0].text


def test_of_several_brokers_each_has_to_refuse_before_it_is_final(vhost: VirtualHost) -> None:
    wrong, nowhere = vhost.url_for(password="wrong"), vhost.rabbit.url(vhost="nowhere")  # noqa: S106 - it is
    with linked(wrong, nowhere, wrong) as link:
        wait_until(lambda: len(link.reasons) >= 4)
        assert [reason.final for reason in link.reasons[:4]] == [False, False, True, True]
    with linked(wrong, vhost.url) as link:
        link.wait("failed", "up")
        assert not link.reasons[0].final


def test_a_callback_that_raises_is_logged_and_the_link_goes_on(
    vhost: VirtualHost, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("a bug of ours")

    link = Linked(vhost.url)
    link.on_up = fail
    with opened(link):
        link.wait("up")
        (answer,) = link.converse(asked(QueueDeclare("missing", passive=True)))
        assert answer.code == 404
        assert link.loop.failures == 1
        assert "a bug of ours" in caplog.text


def test_when_pika_itself_raises_the_connection_is_made_anew(
    link: Linked, caplog: pytest.LogCaptureFixture
) -> None:
    closed: list[str] = []
    link.do(lambda: link.link.channel(lambda _: None, lambda _, why: closed.append(why.text)))

    def fail() -> None:
        raise AssertionError("a bug of pika's")

    link.loop.pika.add_callback_threadsafe(fail)  # as a callback of pika's own would
    link.wait("up", "down", "up")
    wait_until(lambda: closed)
    assert "a bug of pika's" in caplog.text


def test_a_link_that_is_blocked_is_told_so_once() -> None:
    told = Linked("amqp://127.0.0.1:1/")
    told.link._block(on=True)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - an alarm is for tests with a node of their own
    told.link._block(on=True)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    told.link._block(on=False)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    assert told.told == ["blocked", "unblocked"]


# -- closing: `linked` sees that nothing is left


@pytest.mark.parametrize("scheme", ["amqp", "amqps"])
def test_a_connection_that_is_being_opened_can_be_closed(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with linked(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/", others=1) as link:
            accepted = silent.accept()[0]
            assert accepted.recv(1)
        with accepted:
            while accepted.recv(1024):  # to its end
                pass
        assert link.loop.failures == 0
        assert link.told == []


def test_a_connection_whose_name_is_being_resolved_can_be_closed() -> None:
    with linked("amqp://nowhere.invalid/") as link:
        pass
    assert link.loop.failures == 0


def test_a_link_that_waits_for_its_next_try_can_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "_FIRST_WAIT", 60.0)
    with linked(f"amqp://127.0.0.1:{free_ports(1)[0]}/") as link:
        link.wait("failed")


def test_a_broker_that_is_silent_is_hung_up_on(
    amqp_proxy: AmqpProxy, vhost: VirtualHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "_CLOSING", 0.2)
    with linked(amqp_proxy.through(vhost.url), others=2) as link:
        link.wait("up")
        link.channel()
        amqp_proxy.blackhole()
    assert link.loop.failures == 0
    assert link.told == ["up"]


def test_a_loop_that_was_never_started_has_nothing_open() -> None:
    before = open_files()
    loop = Loop("never")
    loop.call(lambda: None)
    loop.stop()
    assert open_files() <= before
