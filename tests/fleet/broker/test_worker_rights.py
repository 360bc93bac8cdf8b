"""A worker that may not do all that it must: it says what to type, and loses nothing meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleet_workers import Fleet, wait_until
from pika.exceptions import UnroutableError

from ollama_ext.fleet import serving

if TYPE_CHECKING:
    import pytest
    from virtual_hosts import VirtualHost

NO_REPLIES = r"^llm\.request"


def published(fleet: Fleet, text: str) -> bool:
    """Publish, if the queue is bound by now."""
    try:
        fleet.publish(text)
    except UnroutableError:
        return False
    return True


def test_a_worker_that_may_not_reply_takes_nothing_until_it_may(
    vhost: VirtualHost, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serving, "_RIGHTS", 0.2)
    vhost.rabbit.add_user("mute", "secret")
    vhost.rabbit.set_permissions("mute", vhost.name, configure=".*", write=NO_REPLIES, read=".*")
    with Fleet(vhost, workers=0) as fleet:
        fleet.admin.declare_exchange("llm.request")
        fleet.add(**{"amqp.url": vhost.url_for("mute", "secret")})
        wait_until(lambda: "we may not publish replies" in caplog.text)
        assert "rabbitmqctl set_permissions" in caplog.text
        queue = fleet.queues[0]
        wait_until(lambda: published(fleet, "asked too early"))

        assert fleet.admin.consumers(queue) == 0
        vhost.rabbit.set_permissions("mute", vhost.name, configure=".*", write=".*", read=".*")

        assert set(fleet.wait_for_replies(1)) == {"asked too early"}
        assert fleet.runs("asked too early") == 1
        fleet.finish()
