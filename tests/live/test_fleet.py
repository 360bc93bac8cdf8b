"""A fleet on a real Ollama: two workers, two models, and one of the workers killed in the middle."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from fleet_workers import WorkerProcess, wait_until
from rabbitmq import RabbitMQ
from rabbitmq_admin import Admin

from ollama_ext import Client, RetryPolicy
from ollama_ext.fleet import FleetClient
from ollama_ext.fleet.topology import queue_name

CALLS = 100  # of each kind
SHORT = {"num_predict": 6, "temperature": 0}


@pytest.mark.timeout(600)
def test_no_call_is_lost_when_a_worker_is_killed_in_the_middle_of_200() -> None:
    if not os.environ.get("OLLAMA_HOST"):
        pytest.exit("OLLAMA_HOST is not set: these tests need a real Ollama", returncode=2)
    with ExitStack() as stack:
        ollama = stack.enter_context(Client())
        talker, embedder = smallest(ollama, "completion"), smallest(ollama, "embedding")
        rabbit = stack.enter_context(RabbitMQ())
        admin = stack.enter_context(Admin(rabbit.url()))
        subscriptions = [{"type": "chat", "model": talker}, {"type": "embed", "model": embedder}]
        queues = [queue_name(each["type"], each["model"]) for each in subscriptions]
        workers = [
            WorkerProcess(
                f"worker-{number}",
                {"subscriptions": subscriptions},
                {
                    "amqp.url": rabbit.url(),
                    "ollama.host": ollama.host,
                    "worker.slots": 2,
                    "worker.name": f"w{number}",
                },
            )
            for number in range(2)
        ]
        for worker in workers:
            worker.start()
            stack.callback(worker.end)
        for queue in queues:
            admin.wait_for_consumers(queue, len(workers))
        caller = stack.enter_context(FleetClient(rabbit.url(), timeout=300, retry=RetryPolicy()))
        done: list[int] = []

        def chat(number: int) -> str:
            reply = caller.chat(talker, f"Say the number {number}.", options=SHORT)
            done.append(number)
            return reply.text

        def embed(number: int) -> int:
            return len(caller.embed(embedder, f"text number {number}").embeddings[0])

        with ThreadPoolExecutor(32) as threads:
            chats = [threads.submit(chat, number) for number in range(CALLS)]
            embeds = [threads.submit(embed, number) for number in range(CALLS)]
            wait_until(lambda: len(done) >= CALLS // 4, 300, "a quarter of the chats")
            workers[0].stop(now=True)
            texts = [call.result(300) for call in chats]
            lengths = {call.result(300) for call in embeds}

        assert all(texts)
        assert len(lengths) == 1
        wait_until(lambda: sum(map(admin.count, queues)) == 0)
        workers[1].stop()
        workers[1].wait()
        assert workers[1].failure is None
        assert "guest:guest" not in workers[1].log


def smallest(client: Client, capability: str) -> str:
    """Return the smallest local model with a capability."""
    local = [entry for entry in client.list_models() if not (entry.remote_host or entry.remote_model)]
    for entry in sorted(local, key=lambda entry: entry.size):
        if capability in (client.show_model(entry.name).capabilities or []):
            return entry.name
    pytest.fail(f"the server at {client.host} has no local model with the capability {capability!r}")
