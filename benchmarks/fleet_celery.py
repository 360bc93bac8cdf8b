"""Celery as its users set it up where nothing may be lost.

It is looked up at run time, so that type checkers need not have it installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from ollama_ext.fleet.messages import Properties

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

NAME: Final = "benchmark.infer"

#: What differs from Celery's defaults, and why.
SETTINGS: Final[Mapping[str, Any]] = {
    "result_backend": "rpc://",  # replies go to the caller's queue
    "result_persistent": True,  # they outlive a restart of the broker
    "task_acks_late": True,  # a task whose worker dies runs again
    "task_reject_on_worker_lost": True,
    "task_default_queue_type": "quorum",
    "broker_transport_options": {"confirm_publish": True},  # a reply is known to have arrived before the ack
    "worker_prefetch_multiplier": 1,  # a message for each thread
    "worker_enable_remote_control": False,  # nothing beside the tasks
    "broker_connection_retry_on_startup": True,
    "task_serializer": "json",
    "result_serializer": "json",
    "accept_content": ["json"],
}


def application(url: str, queue: str) -> Any:
    """Return an application for a queue."""
    celery: Any = import_module("celery").Celery("benchmark", broker=url)
    celery.conf.update(SETTINGS, task_default_queue=queue)
    return celery


def work(url: str, queue: str, threads: int, reply: Mapping[str, Any]) -> None:
    """Run a worker whose task answers with what is given, until SIGTERM."""
    celery = application(url, queue)

    def infer(_request: Mapping[str, Any]) -> Mapping[str, Any]:
        return reply

    celery.task(infer, name=NAME)
    celery.worker_main(
        [
            "worker",
            "--pool=threads",
            f"--concurrency={threads}",
            f"--queues={queue}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--loglevel=WARNING",
        ]
    )


def messages(
    url: str, queue: str, reply_to: str, request: Mapping[str, Any], count: int
) -> Generator[tuple[bytes, Properties]]:
    """Yield messages as Celery's own client writes them."""
    celery = application(url, queue)
    dumps: Any = import_module("kombu.serialization").dumps
    for _ in range(count):
        task_id = str(uuid4())
        task = celery.amqp.as_task_v2(task_id, NAME, args=[request], reply_to=reply_to)
        content_type, encoding, body = dumps(task.body, serializer="json")
        yield (
            body.encode(),
            Properties(
                content_type=content_type,
                content_encoding=encoding,
                headers={name: value for name, value in task.headers.items() if value is not None},
                correlation_id=task.properties["correlation_id"],
                reply_to=task.properties["reply_to"],
                delivery_mode=2,
                priority=0,
            ),
        )
