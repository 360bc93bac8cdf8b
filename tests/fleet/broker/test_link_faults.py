"""What a fleet does when the network between it and its broker fails.

What must hold, whatever the fault: every call gets its own answer, once; every request is run; nothing is
left in a queue and nothing died; every worker lives. A lone worker runs each request once, because a job goes
on while its link is down and its redelivery is adopted. Of several workers another one may get that, and run
it again.
"""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from amqp_proxy import AmqpProxy
from fleet_workers import CHAT, EMBED, GENERATE, MODEL, Fleet, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from virtual_hosts import VirtualHost, VirtualHosts

    from ollama_ext.fleet import FleetClient

#: How many workers a fault meets; a lone one must adopt what it runs.
FLEETS = pytest.mark.parametrize("workers", [1, 6])


@pytest.fixture
def vhosts(_virtual_hosts: VirtualHosts) -> list[VirtualHost]:
    """Take a few virtual hosts."""
    return _virtual_hosts.several(4)


@pytest.fixture
def caller_proxy(vhost: VirtualHost) -> Iterator[AmqpProxy]:
    """Put a proxy between callers and the broker; that of the workers is another one."""
    with AmqpProxy(vhost.rabbit.port) as running:
        yield running


def texts(count: int) -> list[str]:
    return [f"request {number}" for number in range(count)]


def survives(fleet: Fleet, fault: Callable[[], object], client: FleetClient | None = None) -> None:
    """Have requests run and wait, let the fault happen, and see that what must hold does."""
    workers = len(fleet.workers)
    wanted = texts(3 * workers + 2)
    fleet.hold()
    calls = fleet.ask(wanted, client)
    fleet.wait_for_runs(workers)
    fault()
    fleet.release()
    assert fleet.answers(calls) == wanted
    runs = fleet.all_runs
    assert runs.keys() == set(wanted)
    assert max(runs.values()) <= (1 if workers == 1 else 2), runs
    fleet.wait_ready()  # so the redelivery of what was answered meanwhile has come, and was acked
    fleet.finish()


# -- the links of workers


@FLEETS
@pytest.mark.parametrize("back", [True, False], ids=["jobs end after", "jobs end before it is back"])
def test_resets_of_all_links(workers: int, back: bool, vhost: VirtualHost, amqp_proxy: AmqpProxy) -> None:
    with Fleet(vhost, workers=workers, url=amqp_proxy.through(vhost.url)) as fleet:

        def reset() -> None:
            assert amqp_proxy.reset_all() == 2 * workers
            if back:
                fleet.wait_ready()

        survives(fleet, reset)


@FLEETS
def test_an_operator_closes_all_connections(workers: int, vhost: VirtualHost) -> None:
    with Fleet(vhost, workers=workers) as fleet:

        def close() -> None:
            vhost.rabbit.close_all_connections(vhost=vhost.name)
            fleet.wait_ready()

        survives(fleet, close)


def test_links_that_fall_silent(vhosts: list[VirtualHost]) -> None:
    # Found out by missing heartbeats, for which pika takes up to twice five seconds and the heartbeat: so all
    # are at once. A new connection is fine, as after a failover of a firewall.
    cases = [(1, "consume"), (1, "publish"), (1, "both"), (6, "both")]
    with ThreadPoolExecutor(len(cases)) as threads:
        ends = [
            threads.submit(survives_silence, vhost, *case) for vhost, case in zip(vhosts, cases, strict=True)
        ]
        for end in ends:
            end.result(100)


def survives_silence(vhost: VirtualHost, workers: int, silent: str) -> None:
    which = {"consume": [0], "publish": [1], "both": [0, 1]}[silent]
    with (
        AmqpProxy(vhost.rabbit.port) as proxy,
        Fleet(vhost, workers=0, url=proxy.through(vhost.url), settings={"amqp.heartbeat": 1}) as fleet,
    ):
        for _ in range(workers):
            fleet.add()
            fleet.wait_ready()
            proxy.wait_until(lambda connections: len(connections) == 2 * len(fleet.workers))
        links = [2 * worker + link for worker in range(workers) for link in which]

        def fall_silent() -> None:
            for number in links:
                proxy.blackhole(number)
            proxy.wait_until(lambda connections: len(connections) == 2 * workers + len(links))

        survives(fleet, fall_silent)


def test_a_network_that_is_gone_for_a_while_for_everybody(
    vhost: VirtualHost, amqp_proxy: AmqpProxy, caller_proxy: AmqpProxy
) -> None:
    with Fleet(vhost, workers=6, url=amqp_proxy.through(vhost.url)) as fleet:

        def be_gone() -> None:
            for proxy in (amqp_proxy, caller_proxy):
                proxy.refuse()
                proxy.reset_all()
            fleet.wait_ready(0)
            for proxy in (amqp_proxy, caller_proxy):
                proxy.pass_through()

        survives(fleet, be_gone, fleet.client(caller_proxy.through(vhost.url)))


@pytest.mark.parametrize("seed", [1])
def test_resets_at_random_of_workers_and_callers(
    seed: int, vhost: VirtualHost, amqp_proxy: AmqpProxy, caller_proxy: AmqpProxy
) -> None:
    storm(vhost, amqp_proxy, caller_proxy, seed, resets=25)


def storm(
    vhost: VirtualHost, amqp_proxy: AmqpProxy, caller_proxy: AmqpProxy, seed: int, resets: int
) -> dict[str, int]:
    """Call until so many connections of workers were reset; return how often each request was run."""
    subscriptions = [CHAT, GENERATE, EMBED]
    with Fleet(vhost, workers=6, subscriptions=subscriptions, url=amqp_proxy.through(vhost.url)) as fleet:
        client = fleet.client(caller_proxy.through(vhost.url), timeout=60)
        numbers = itertools.count()
        over = threading.Event()

        def call_on() -> int:
            count = 0
            while not over.is_set():
                text = f"request {next(numbers)}"
                count += 1
                kind = client.chat if count % 2 else client.generate
                assert kind(MODEL, text).text == text
            return count

        amqp_proxy.reset_at_random(seed, every=0.3)
        caller_proxy.reset_at_random(seed + 1, every=0.6)
        with ThreadPoolExecutor(12) as threads:
            calls = [threads.submit(call_on) for _ in range(12)]
            wait_until(
                lambda: (
                    sum(each.ended == "reset" for each in amqp_proxy.connections) >= resets
                    or any(call.done() for call in calls)
                ),
                seconds=110,
            )
            for proxy in (amqp_proxy, caller_proxy):
                proxy.pass_through()
            over.set()
            count = sum(call.result(60) for call in calls)
        runs = fleet.all_runs
        assert len(runs) == count
        fleet.wait_ready()
        fleet.finish()
        return runs


# -- the links of callers


@pytest.mark.parametrize("which", ["requests", "replies", "both"])
def test_a_caller_loses_its_links_with_calls_in_flight(
    which: str, vhost: VirtualHost, caller_proxy: AmqpProxy
) -> None:
    with Fleet(vhost, workers=2) as fleet:
        client = fleet.client(caller_proxy.through(vhost.url))
        assert client.chat(MODEL, "before").text == "before"
        (replies, requests) = [each.number for each in caller_proxy.open_connections]
        lost = {"requests": [requests], "replies": [replies], "both": [requests, replies]}[which]
        wanted = texts(20)
        fleet.hold()
        calls = fleet.ask(wanted, client)
        fleet.wait_for_runs(3)
        for number in lost:
            caller_proxy.reset(number)
        fleet.release()
        assert fleet.answers(calls) == wanted
        # What the broker has confirmed is not sent again; what it has not may run twice.
        assert max(fleet.all_runs.values()) <= (1 if which == "replies" else 2)
        fleet.finish()


def test_a_request_that_may_have_been_lost_on_its_way_is_sent_again(
    vhost: VirtualHost, caller_proxy: AmqpProxy
) -> None:
    with Fleet(vhost) as fleet:
        client = fleet.client(caller_proxy.through(vhost.url), timeout=30)
        assert client.chat(MODEL, "before").text == "before"
        for number in range(8):  # the connection of requests is cut a little later each time
            text = f"request {number}"
            requests = caller_proxy.open_connections[-1].number
            caller_proxy.reset(requests)
            caller_proxy.cut_next(to_server=400 + 90 * number)
            assert client.chat(MODEL, text).text == text
            caller_proxy.pass_through()
            assert 1 <= fleet.runs(text) <= 2
        fleet.finish()


def test_a_caller_whose_reply_queue_is_deleted_asks_again_what_was_not_answered(vhost: VirtualHost) -> None:
    with Fleet(vhost, workers=2) as fleet:
        client = fleet.client(timeout=30)
        wanted = texts(6)
        fleet.hold()
        calls = fleet.ask(wanted, client)
        fleet.wait_for_runs(2)
        (queue,) = [name for name in vhost.rabbit.queues(vhost.name) if name.startswith("llm.reply.")]
        fleet.admin.delete(queue)
        fleet.release()  # what runs is answered into the void, perhaps
        assert fleet.answers(calls) == wanted
        assert max(fleet.all_runs.values()) <= 2
        fleet.finish()
