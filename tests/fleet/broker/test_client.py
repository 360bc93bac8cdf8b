"""`FleetClient` with a real broker and real workers: what it returns, what it raises, and what it leaves."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest
from fleet_workers import CHAT, EMBED, EMBEDDER, GENERATE, MODEL, Fleet, vector, wait_until
from pika.exceptions import NackError
from rabbitmq import free_ports
from rabbitmq_admin import QUORUM
from sockets import open_files

from ollama_ext import CancelToken, ModelNotFound, OllamaTimeout, RetryPolicy
from ollama_ext.fleet import (
    BrokerRefused,
    BrokerUnreachable,
    FleetBusy,
    FleetCancelled,
    FleetClient,
    FleetError,
    FleetTimeout,
    ModelNotServed,
    caller,
    calls,
)
from ollama_ext.fleet.topology import queue_name
from ollama_ext.settings import AmqpSettings
from ollama_ext.testing import Json, no_wait

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqp_proxy import AmqpProxy
    from rabbitmq_admin import Admin, Message
    from virtual_hosts import VirtualHost

QUEUE = queue_name("chat", MODEL)


def served(admin: Admin, queue: str = QUEUE, arguments: Mapping[str, Any] = QUORUM) -> str:
    """Make a queue as a worker would, with nobody to serve it."""
    admin.declare_exchange("llm.request")
    admin.declare(queue, arguments)
    admin.bind(queue, "llm.request")
    return queue


def taken(client: FleetClient, admin: Admin, queue: str = QUEUE, **options: Any) -> Message:
    """Call, and return the message that reached the queue; nobody answers it."""
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(client.chat, MODEL, "hello", **options)
        (message,) = admin.wait_for(queue)
        client.close()
        assert isinstance(call.exception(20), FleetError)
    return message


# -- what comes back


def test_chat_generate_and_embed_are_answered(vhost: VirtualHost) -> None:
    with Fleet(vhost, subscriptions=[CHAT, GENERATE, EMBED]) as fleet:
        client = fleet.client()
        assert client.chat(MODEL, "hello").text == "hello"
        assert client.generate(MODEL, "a story").text == "a story"
        assert client.embed(EMBEDDER, "text").result.embeddings == [vector("text")]
        fleet.finish()


def test_an_embed_of_300_texts_is_shared_by_three_workers_and_comes_back_in_order(vhost: VirtualHost) -> None:
    texts = [str(number) for number in range(300)]
    with Fleet(vhost, workers=3, subscriptions=[EMBED]) as fleet:
        fleet.hold()  # until each has one, or the first would have them all
        with ThreadPoolExecutor(1) as threads:
            call = threads.submit(lambda: fleet.client().embed(EMBEDDER, texts))
            fleet.wait_for_runs(3)
            fleet.release()
            reply = call.result(30)
        assert reply.result.embeddings == [vector(text) for text in texts]
        assert reply.result.prompt_eval_count == 300
        assert all(ollama.runs for ollama in fleet.ollamas)
        assert set(fleet.all_runs.values()) == {1}
        fleet.finish()


def test_a_list_that_is_longer_than_what_may_be_in_flight_is_embedded_whole(vhost: VirtualHost) -> None:
    texts = [str(number) for number in range(300)]
    with Fleet(vhost, subscriptions=[EMBED]) as fleet:
        reply = fleet.client(max_in_flight=1, timeout=30).embed(EMBEDDER, texts)
        assert reply.result.embeddings == [vector(text) for text in texts]
        fleet.finish()


def test_a_client_is_shared_by_many_threads_and_each_gets_its_own_reply(vhost: VirtualHost) -> None:
    texts = [f"thread-{number}" for number in range(200)]
    with Fleet(vhost, workers=2, settings={"worker.slots": 4}) as fleet:
        client = fleet.client(max_in_flight=16)

        def answer_of(text: str) -> str:
            return client.chat(MODEL, text).text

        with ThreadPoolExecutor(40) as threads:
            answers = list(threads.map(answer_of, texts))
        assert answers == texts
        assert set(fleet.all_runs.values()) == {1}
        fleet.finish()


def test_no_more_requests_are_in_flight_than_may_be(vhost: VirtualHost) -> None:
    with Fleet(vhost, settings={"worker.slots": 8}) as fleet:
        fleet.hold()
        client = fleet.client(max_in_flight=2)
        waiting = fleet.ask(["one", "two", "three"], client)
        fleet.wait_for_runs(2)
        with pytest.raises(FleetTimeout):
            client.chat(MODEL, "four", timeout=0.3)
        assert sum(fleet.all_runs.values()) == 2
        fleet.release()
        assert sorted(fleet.answers(waiting)) == ["one", "three", "two"]
        assert fleet.runs("four") == 0
        fleet.finish()


def test_an_error_of_ollama_is_the_error_that_client_raises(vhost: VirtualHost) -> None:
    with Fleet(vhost, settings={"worker.max_deliveries": 1}) as fleet:
        fleet.ollamas[0].scripted["?"] = Json({"error": f"model '{MODEL}' not found"}, status=404)
        with pytest.raises(ModelNotFound) as caught:
            fleet.client().chat(MODEL, "?")
        assert caught.value.status == 404
        assert caught.value.__notes__ == ["answered by the worker worker-0"]
        fleet.finish(dead=1)


# -- where it goes


@pytest.mark.parametrize(
    ("subscribed", "asked"), [("tiny", "tiny:latest"), ("tiny:latest", "tiny"), ("a/b", "a/b:latest")]
)
def test_a_model_is_found_under_its_other_spelling(
    subscribed: str, asked: str, vhost: VirtualHost, admin: Admin
) -> None:
    queue = served(admin, queue_name("chat", subscribed))
    with ThreadPoolExecutor(1) as threads, FleetClient(vhost.url) as client:
        threads.submit(client.chat, asked, "hello")
        assert admin.wait_for(queue)
        client.close()


def test_a_model_that_nobody_serves_is_an_error_at_once_that_names_both_queues(
    vhost: VirtualHost, admin: Admin
) -> None:
    served(admin)
    with FleetClient(vhost.url) as client, pytest.raises(ModelNotServed) as caught:
        client.chat("nobodys", "hello")
    assert queue_name("chat", "nobodys") in str(caught.value)
    assert queue_name("chat", "nobodys:latest") in str(caught.value)


def test_where_no_worker_ever_ran_the_error_says_so_to_every_thread(vhost: VirtualHost) -> None:
    with FleetClient(vhost.url, timeout=20) as client, ThreadPoolExecutor(8) as threads:
        errors = [threads.submit(client.chat, MODEL, "hello").exception(30) for _ in range(8)]
    assert {type(error) for error in errors} == {ModelNotServed}
    assert len({id(error) for error in errors}) == 8
    assert "no worker has ever run here" in str(errors[0])


def test_what_is_sent_is_what_the_protocol_says(vhost: VirtualHost, admin: Admin) -> None:
    queue = served(admin)
    message = taken(FleetClient(vhost.url, timeout=30), admin)
    properties: Any = message.properties
    assert properties.content_type == "application/json"
    assert properties.delivery_mode == 2
    assert 20_000 < int(properties.expiration) <= 30_000
    assert properties.reply_to.startswith("llm.reply.guest.")
    assert properties.message_id == properties.correlation_id
    assert message.routing_key == queue


def test_a_request_that_waited_as_long_as_its_caller_is_dropped_by_the_broker(
    vhost: VirtualHost, admin: Admin
) -> None:
    queue = served(admin)
    with FleetClient(vhost.url, timeout=0.4) as client, pytest.raises(FleetTimeout):
        client.chat(MODEL, "hello")
    wait_until(lambda: admin.count(queue) == 0)


# -- what is refused


def test_a_full_queue_is_an_error_that_is_tried_again(vhost: VirtualHost, admin: Admin) -> None:
    queue = served(admin, arguments={**QUORUM, "x-max-length": 1, "x-overflow": "reject-publish"})
    while True:  # the first ones over the limit are taken, too
        try:
            admin.publish(queue, b"in the way")
        except NackError:  # now it is full
            break
    tries: list[Any] = []

    def retried(event: Any) -> None:
        tries.append(event)
        assert len(tries) < 2 or room.wait(20)

    room = threading.Event()
    retry = RetryPolicy(attempts=4, on_retry=retried)
    with FleetClient(vhost.url, retry=None) as client:
        with pytest.raises(FleetBusy, match="takes no more requests"):
            client.chat(MODEL, "hello")
        with no_wait(), ThreadPoolExecutor(1) as threads:
            call = threads.submit(client.chat, MODEL, "hello", retry=retry)
            wait_until(lambda: len(tries) == 2)
            admin.purge(queue)
            room.set()
            assert admin.wait_for(queue)[0].body != b"in the way"
            client.close()
            assert isinstance(call.exception(20), FleetError)


def test_a_caller_without_the_right_to_the_exchange_is_told_so(vhost: VirtualHost, admin: Admin) -> None:
    served(admin)
    vhost.rabbit.add_user(vhost.name, "secret")
    vhost.rabbit.set_permissions(vhost.name, vhost.name, configure="^llm[.]reply", read="^llm[.]reply")
    with FleetClient(vhost.url_for(vhost.name, "secret"), timeout=20) as client:
        with pytest.raises(BrokerRefused, match=r"access to exchange 'llm.request'.* --permissions"):
            client.chat(MODEL, "hello")
        vhost.rabbit.set_permissions(
            vhost.name, vhost.name, configure="^llm[.]reply", read="^llm[.]reply", write="."
        )
        assert taken(client, admin)


@pytest.mark.parametrize(
    ("rights", "told"),
    [
        ({"write": ".", "read": "."}, "fleet definitions --permissions"),
        ({"configure": ".", "write": "."}, r"reply queue cannot be read: .* --permissions"),
    ],
    ids=["to make it", "to read it"],
)
def test_a_caller_without_a_right_to_its_reply_queue_is_told_so_at_once_and_recovers(
    rights: dict[str, str],
    told: str,
    vhost: VirtualHost,
    admin: Admin,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(caller, "_REFUSED", 0.1)
    monkeypatch.setattr(calls, "_UNREACHABLE", 20.0)
    served(admin)
    vhost.rabbit.add_user(vhost.name, "secret")
    vhost.rabbit.set_permissions(vhost.name, vhost.name, **rights)
    with FleetClient(vhost.url_for(vhost.name, "secret"), timeout=20) as client:
        with pytest.raises(BrokerRefused, match=told):
            client.chat(MODEL, "hello")
        vhost.rabbit.set_permissions(vhost.name, vhost.name, configure=".", write=".", read=".")
        assert taken(client, admin)


def test_a_caller_whom_none_of_several_brokers_lets_in_is_told_so(vhost: VirtualHost) -> None:
    urls = (vhost.url_for(password="wrong"), vhost.rabbit.url(vhost="nowhere"))  # noqa: S106 - it is wrong
    with FleetClient(AmqpSettings(urls=urls), timeout=20) as client, pytest.raises(BrokerRefused):
        client.chat(MODEL, "hello")


def test_a_wrong_password_is_an_error_at_once(vhost: VirtualHost) -> None:
    with FleetClient(vhost.url_for(password="wrong"), timeout=20) as client:  # noqa: S106, SIM117 - it is wrong
        with pytest.raises(BrokerRefused, match="wrong password"):
            client.chat(MODEL, "hello")


def test_without_a_broker_a_call_is_given_up_and_says_where_it_should_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls, "_UNREACHABLE", 0.3)
    port = free_ports(1)[0]
    with FleetClient(f"amqp://user:secret@127.0.0.1:{port}/") as client:
        with pytest.raises(BrokerUnreachable) as caught:
            client.chat(MODEL, "hello")
        assert f"127.0.0.1:{port}" in str(caught.value)
        assert "secret" not in str(caught.value)
        assert caught.value.retryable


def test_a_broker_that_is_silent_from_the_first_byte_is_given_up(
    amqp_proxy: AmqpProxy, vhost: VirtualHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "_UNREACHABLE", 0.3)
    amqp_proxy.blackhole()
    with FleetClient(amqp_proxy.through(vhost.url)) as client, pytest.raises(BrokerUnreachable):
        client.chat(MODEL, "hello")


def test_a_call_that_began_without_a_broker_is_answered_when_there_is_one_in_time(
    amqp_proxy: AmqpProxy, vhost: VirtualHost
) -> None:
    amqp_proxy.refuse()
    with Fleet(vhost) as fleet:
        waiting = fleet.ask(["one"], fleet.client(amqp_proxy.through(vhost.url)))
        assert not waiting[0].done()
        amqp_proxy.pass_through()
        assert fleet.answers(waiting) == ["one"]
        fleet.finish()


# -- waiting no more


def test_a_call_that_takes_too_long_is_a_time_out_of_both_kinds(vhost: VirtualHost, admin: Admin) -> None:
    served(admin)
    with (
        FleetClient(vhost.url) as client,
        pytest.raises(FleetTimeout, match=r"no reply within 0[.]3 s") as caught,
    ):
        client.chat(MODEL, "hello", timeout=0.3)
    assert isinstance(caught.value, OllamaTimeout)


def test_a_call_that_is_cancelled_ends_at_once_and_its_late_reply_reaches_nobody(vhost: VirtualHost) -> None:
    token = CancelToken()
    with Fleet(vhost) as fleet:
        client = fleet.client()
        fleet.hold()
        with ThreadPoolExecutor(1) as threads:
            call = threads.submit(lambda: client.chat(MODEL, "one", cancel=token))
            fleet.wait_for_runs(1)
            token.cancel()
            assert isinstance(call.exception(20), FleetCancelled)
        with pytest.raises(FleetCancelled):
            client.chat(MODEL, "two", cancel=token)
        fleet.release()
        assert client.chat(MODEL, "three").text == "three"
        assert fleet.runs("two") == 0
        fleet.finish()


def test_closing_ends_calls_that_wait_and_leaves_nothing_open(vhost: VirtualHost, admin: Admin) -> None:
    queue = served(admin)
    files, threads = open_files(), set(threading.enumerate())
    client = FleetClient(vhost.url)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.chat, MODEL, "hello")
        wait_until(lambda: admin.count(queue) == 1)
        client.close()
        with pytest.raises(FleetError, match="was closed while this call waited"):
            call.result(20)
    client.close()  # again is fine
    assert set(threading.enumerate()) == threads
    assert open_files() <= files
    with pytest.raises(FleetError, match="is closed: make a new one"):
        client.chat(MODEL, "hello")
    names = vhost.rabbit.queues(vhost.name)
    assert not [name for name in names if name.startswith("llm.reply.")], "the reply queue was left behind"


def test_a_client_that_is_not_used_opens_nothing() -> None:
    files = open_files()
    with FleetClient("amqp://127.0.0.1:1/"):
        assert open_files() == files
    FleetClient("amqp://127.0.0.1:1/")
    assert open_files() == files


def test_a_client_that_was_made_before_a_fork_says_so_and_ends(vhost: VirtualHost) -> None:
    with Fleet(vhost) as fleet:
        client = fleet.client()
        assert client.chat(MODEL, "before").text == "before"
        context = multiprocessing.get_context("fork")
        told, tell = context.Pipe(duplex=False)

        def in_the_child() -> None:
            began = monotonic()
            try:
                with client:
                    client.chat(MODEL, "in the child")
            except FleetError as error:
                tell.send((str(error), monotonic() - began))

        child = context.Process(target=in_the_child)
        child.start()
        assert told.poll(20)
        message, took = told.recv()
        child.join(20)
        assert child.exitcode == 0
        assert "made before a fork" in message
        assert took < 5
        assert client.chat(MODEL, "after").text == "after"
        assert fleet.runs("in the child") == 0
        fleet.finish()
