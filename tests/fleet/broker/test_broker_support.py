"""The broker, the proxy and the virtual hosts of the tests do what the other tests rely on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pika
import pytest
import rabbitmq
from amqp_proxy import AmqpProxy
from background import background, wait_until
from pika.exceptions import AMQPError, ConnectionBlockedTimeout, NackError, UnroutableError
from rabbitmq import Counts, RabbitMQ, RabbitMQMissing, free_ports
from rabbitmq_admin import Admin
from virtual_hosts import VirtualHosts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from virtual_hosts import VirtualHost

GREETING = b"AMQP\0\0\x09\x01"  # to which a broker sends its first frame, of several hundred bytes
LISTENING = "0A"  # as the kernel writes the state of a socket


@pytest.fixture(scope="module")
def node() -> Iterator[RabbitMQ]:
    """Run a node for the tests of this file that leave it running, whatever they did to it."""
    with RabbitMQ(consumer_timeout=2) as running:
        yield running


@pytest.fixture
def node_admin(node: RabbitMQ) -> Iterator[Admin]:
    """Look into that node."""
    with Admin(node.url()) as connected:
        yield connected


def runs(pid: int) -> bool:
    """Tell whether a process runs: there is one of that number, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def ignore(*_: object) -> None:
    """Take a delivery, and never ack it."""


def connect(url: str) -> pika.BlockingConnection:
    parameters = pika.URLParameters(url)
    parameters.heartbeat = 0
    return pika.BlockingConnection(parameters)


def received(port: int) -> bytes:
    """Greet a broker and return what it sends until the connection is reset or closed."""
    data = b""
    with suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), 20) as client:
        client.sendall(GREETING)
        while piece := client.recv(1024):
            data += piece
    return data


# -- the node


@pytest.mark.parametrize("fault", [RabbitMQ.kill, RabbitMQ.stop])
def test_a_node_that_was_away_has_its_port_and_its_persistent_messages_again(
    fault: Callable[[RabbitMQ], None], node: RabbitMQ, node_admin: Admin
) -> None:
    queue = node_admin.declare(f"kept.{fault.__name__}")
    node_admin.publish(queue, b"safe", pika.BasicProperties(delivery_mode=2))
    port = node.port

    fault(node)
    assert not node.running
    with pytest.raises(AMQPError):
        node_admin.count(queue)
    node.start()

    assert node.port == port
    assert node_admin.wait_for(queue)[0].body == b"safe"


def test_a_node_listens_on_loopback_only(node: RabbitMQ) -> None:
    sockets = {
        str(each.readlink())
        for pid in node.pids
        for each in Path(f"/proc/{pid}/fd").iterdir()
        if each.is_symlink()
    }
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text("ascii").splitlines()[1:]
    ]
    addresses = {
        row[1].split(":")[0] for row in rows if row[3] == LISTENING and f"socket:[{row[9]}]" in sockets
    }
    assert "0100007F" in addresses  # 127.0.0.1
    assert addresses <= {"0100007F", "00000000000000000000000001000000"}  # and ::1


def test_a_frozen_node_answers_when_it_goes_on(node: RabbitMQ, node_admin: Admin) -> None:
    queue = node_admin.declare("frozen")
    node.pause()
    try:
        with background(lambda: node_admin.count(queue)) as counting:
            assert node.running
            assert not counting.done()
            node.resume()
            assert counting.result(20) == 0
    finally:
        node.resume()


def test_a_memory_alarm_blocks_who_publishes_until_it_ends(node: RabbitMQ, node_admin: Admin) -> None:
    queue = node_admin.declare("alarmed")
    parameters = pika.URLParameters(node.url())
    parameters.blocked_connection_timeout = 0.5
    node.alarm(on=True)
    try:
        connection = pika.BlockingConnection(parameters)
        channel = connection.channel()
        channel.confirm_delivery()
        with pytest.raises(ConnectionBlockedTimeout):
            channel.basic_publish("", queue, b"blocked")
    finally:
        node.alarm(on=False)
    node_admin.publish(queue, b"free again")
    assert b"free again" in {message.body for message in node_admin.get_all(queue)}


def test_a_consumer_that_holds_a_message_too_long_loses_it(node: RabbitMQ, node_admin: Admin) -> None:
    queue = node_admin.declare("slow")
    node_admin.publish(queue, b"slow")
    with closing(connect(node.url())) as connection:
        channel = connection.channel()
        channel.basic_consume(queue, ignore)
        node_admin.wait_for_consumers(queue, 1)
        while node_admin.consumers(
            queue
        ):  # it must read: what it does not confirm to have lost stays its own
            connection.process_data_events(1)
        again = node_admin.wait_for(queue)[0]
    assert again.body == b"slow"
    assert again.redelivered


def test_a_node_counts_what_is_ready_and_what_is_not_acked(node: RabbitMQ, node_admin: Admin) -> None:
    queue = node_admin.declare("counted")
    for body in (b"1", b"2", b"3"):
        node_admin.publish(queue, body)
    with closing(connect(node.url())) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(queue, ignore)
        node_admin.wait_for_consumers(queue, 1)
        wait_until(lambda: node.queue(queue) == Counts(ready=2, unacked=1, consumers=1))
    assert node.queue("no-such-queue") is None


def test_users_passwords_rights_and_policies_are_what_was_set(node: RabbitMQ, node_admin: Admin) -> None:
    node.add_vhosts(["rights"])
    node.add_user("worker", "p@ss/w#rd")
    node.set_permissions("worker", "rights", configure="^mine$", read="^mine$", write="^amq\\.default$")
    node.set_policy("short", "^mine$", {"max-length": 1, "overflow": "reject-publish"}, vhost="rights")
    with Admin(node.url("worker", "p@ss/w#rd", "rights")) as worker:
        worker.declare("mine", {})
        with pytest.raises(AMQPError, match="access to queue 'other' in vhost 'rights' refused"):
            worker.declare("other", {})
        worker.publish("mine", b"1")
        with pytest.raises(NackError):
            worker.publish("mine", b"2")
        node.clear_policy("short", vhost="rights")
        node.change_password("worker", "new")
        worker.publish("mine", b"2")  # connections that are open stay so
        assert worker.count("mine") == 2
    with Admin(node.url("worker", "p@ss/w#rd", "rights")) as refused, pytest.raises(AMQPError):
        refused.count("mine")
    node.delete_vhosts(["rights"])
    assert node_admin.exists("mine") is False


def test_a_forced_close_is_noticed_and_the_next_call_has_a_new_connection(
    node: RabbitMQ, node_admin: Admin
) -> None:
    queue = node_admin.declare("closed")
    with connect(node.url()) as connection:
        node.close_all_connections(reason="maintenance")
        with pytest.raises(AMQPError, match="maintenance"):
            connection.process_data_events(20)
    assert node_admin.count(queue) == 0


def test_the_management_plugin_answers_where_it_is_asked_for() -> None:
    with RabbitMQ(management=True) as managed:
        answer = httpx.get(f"{managed.management_url}/api/overview", auth=("guest", "guest"), trust_env=False)
        assert answer.json()["rabbitmq_version"] == ".".join(str(part) for part in managed.version)


def test_what_the_node_says_at_its_start_is_in_the_error() -> None:
    with (
        pytest.raises(rabbitmq.NodeEnded, match="no_such_setting"),
        RabbitMQ(config={"no_such_setting": 1}),
    ):
        pass


def test_a_machine_without_rabbitmq_is_told_what_to_type(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rabbitmq, "DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RabbitMQMissing, match="apt-get install --no-install-recommends rabbitmq-server"):
        RabbitMQ().start()


def test_closing_leaves_no_process_and_no_file() -> None:
    running = RabbitMQ()
    running.start()
    pids, directory = running.pids, running.directory
    assert len(pids) == 3
    assert all(runs(pid) for pid in pids)
    running.close()
    running.close()  # again is fine
    assert not any(runs(pid) for pid in pids)
    assert not directory.exists()


def test_a_test_run_that_is_killed_leaves_no_process_and_no_file() -> None:
    program = (
        "import json, rabbitmq, signal; running = rabbitmq.RabbitMQ(); running.start();"
        "print(json.dumps([running.pids, str(running.directory)]), flush=True); signal.pause()"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(rabbitmq.__file__).parent)}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as run:  # noqa: S603 - ours
        assert run.stdout is not None
        pids, directory = json.loads(run.stdout.readline())
        assert all(runs(pid) for pid in pids)
        run.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(runs(pid) for pid in pids))
    wait_until(lambda: not Path(directory).exists())


# -- virtual hosts


def test_what_is_in_one_virtual_host_is_not_in_another(rabbit: RabbitMQ) -> None:
    hosts = VirtualHosts(rabbit)
    hosts.fresh = ["separate-a", "separate-b"]
    rabbit.add_vhosts(hosts.fresh)
    with Admin(hosts.take().url) as one, Admin(hosts.take().url) as other:
        one.declare("mine")
        assert one.exists("mine")
        assert not other.exists("mine")


def test_used_virtual_hosts_are_deleted_when_new_ones_are_made(rabbit: RabbitMQ) -> None:
    hosts = VirtualHosts(rabbit, used=["used-before"])
    rabbit.add_vhosts(["used-before"])
    fresh = hosts.take().name
    names = rabbit.ctl("list_vhosts").split()
    assert fresh in names
    assert "used-before" not in names
    rabbit.delete_vhosts([fresh, *hosts.fresh])


def test_bytes_and_properties_come_back_as_they_were_published(admin: Admin) -> None:
    admin.declare_exchange("requests")
    queue = admin.declare("bytes")
    admin.bind(queue, "requests", "#.bytes")
    properties = pika.BasicProperties(
        message_id="1", headers={"x-a": [1, "b"]}, content_type="", expiration="60000"
    )
    admin.publish("a.bytes", b"\xff\x00", properties, exchange="requests")
    admin.publish(queue, b"")
    first, second = admin.get_all(queue)
    assert (first.body, first.exchange, first.routing_key) == (b"\xff\x00", "requests", "a.bytes")
    assert first.headers.items() >= {"x-a": [1, "b"]}.items()
    assert (first.properties.message_id, first.properties.content_type) == ("1", "")
    assert (second.body, second.headers.get("x-a")) == (b"", None)
    assert admin.get(queue) is None


def test_a_message_for_a_queue_that_does_not_exist_is_returned(admin: Admin) -> None:
    with pytest.raises(UnroutableError):
        admin.publish("nowhere", b"")
    with pytest.raises(LookupError, match="there is no queue 'nowhere'"):
        admin.count("nowhere")


def test_a_queue_can_be_emptied_and_deleted(admin: Admin) -> None:
    queue = admin.reply_queue()
    assert queue != admin.reply_queue()
    admin.publish(queue, b"1")
    assert admin.purge(queue) == 1
    assert (admin.count(queue), admin.consumers(queue)) == (0, 0)
    admin.delete(queue)
    assert not admin.exists(queue)


# -- the proxy


def test_a_proxy_passes_everything_on(amqp_proxy: AmqpProxy, vhost: VirtualHost, admin: Admin) -> None:
    queue = admin.declare("large")
    body = bytes(range(256)) * 8192
    with Admin(amqp_proxy.through(vhost.url)) as proxied:
        proxied.publish(queue, body)
        message = proxied.get(queue)
        assert message is not None
        assert message.body == body
        (connection,) = amqp_proxy.open_connections
        assert min(connection.to_server, connection.to_client) > len(body)
    amqp_proxy.wait_until(lambda connections: not connections[0].open)
    assert amqp_proxy.connections[0].ended in {"client", "server"}


def test_nothing_comes_through_a_silent_link_until_it_heals(
    amqp_proxy: AmqpProxy, vhost: VirtualHost, admin: Admin
) -> None:
    queue = admin.declare("silent")
    with Admin(amqp_proxy.through(vhost.url)) as proxied:
        assert proxied.count(queue) == 0
        amqp_proxy.blackhole()
        before = amqp_proxy.connections
        with background(lambda: proxied.publish(queue, b"late")) as publishing:
            assert admin.get(queue) is None
            assert amqp_proxy.connections == before
            assert not publishing.done()
            amqp_proxy.pass_through()
            publishing.result(20)
        assert admin.wait_for(queue)[0].body == b"late"


def test_one_connection_can_fall_silent_while_others_go_on(
    amqp_proxy: AmqpProxy, vhost: VirtualHost, admin: Admin
) -> None:
    queue, url = admin.declare("one-silent"), amqp_proxy.through(vhost.url)
    with Admin(url) as silent, Admin(url) as alive:
        assert silent.count(queue) == 0
        assert alive.count(queue) == 0
        amqp_proxy.blackhole(0)
        with background(lambda: silent.count(queue)) as counting:
            assert alive.count(queue) == 0
            assert not counting.done()
            amqp_proxy.pass_through()
            assert counting.result(20) == 0


def test_a_reset_reaches_both_sides(amqp_proxy: AmqpProxy, vhost: VirtualHost, admin: Admin) -> None:
    queue = admin.declare("reset")
    url = amqp_proxy.through(vhost.url)
    connection = connect(url)
    connection.channel().basic_consume(queue, ignore)
    admin.wait_for_consumers(queue, 1)

    assert amqp_proxy.reset_all() == 1
    with pytest.raises(AMQPError, match="reset"):
        connection.process_data_events(20)
    admin.wait_for_consumers(queue, 0)  # the broker has noticed, too

    assert amqp_proxy.connections[0].ended == "reset"
    with Admin(url) as proxied:  # and the next one is fine
        assert proxied.count(queue) == 0


def test_resets_at_random_go_on_until_the_link_heals(amqp_proxy: AmqpProxy, vhost: VirtualHost) -> None:
    amqp_proxy.reset_at_random(seed=7, every=0.01)
    for _ in range(3):
        received(amqp_proxy.port)  # until it is reset: the broker itself would wait for ten seconds
    amqp_proxy.wait_until(lambda connections: [each.ended for each in connections] == ["reset"] * 3)
    amqp_proxy.pass_through()
    connect(amqp_proxy.through(vhost.url)).close()


def test_a_link_that_refuses_keeps_what_is_open(
    amqp_proxy: AmqpProxy, vhost: VirtualHost, admin: Admin
) -> None:
    queue, url = admin.declare("refused"), amqp_proxy.through(vhost.url)
    with Admin(url) as proxied:
        assert proxied.count(queue) == 0
        amqp_proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", amqp_proxy.port), 20)
        assert proxied.count(queue) == 0
        amqp_proxy.pass_through()
        connect(url).close()


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_cut_lets_exactly_so_many_bytes_through(how: str, amqp_proxy: AmqpProxy) -> None:
    for count in range(40):
        amqp_proxy.cut_next(to_client=count, how="reset" if how == "reset" else "close")
        assert len(received(amqp_proxy.port)) == count
        amqp_proxy.wait_until(lambda connections: connections[-1].ended == "cut")
        assert amqp_proxy.connections[-1].to_client == count
    for count in range(len(GREETING)):
        amqp_proxy.cut_next(to_server=count)
        assert received(amqp_proxy.port) == b""
        amqp_proxy.wait_until(lambda connections: connections[-1].ended == "cut")
        assert amqp_proxy.connections[-1].to_server == count


def test_a_client_is_reset_where_no_server_listens() -> None:
    with AmqpProxy(free_ports(1)[0]) as proxy:
        assert received(proxy.port) == b""
        proxy.wait_until(lambda connections: connections[0].ended == "unreachable")


def test_a_proxy_leaves_no_thread_and_no_socket(rabbit: RabbitMQ, nothing_left_open: None) -> None:  # noqa: ARG001 - does its work by being there
    with AmqpProxy(rabbit.port) as proxy:
        connect(proxy.through(rabbit.url())).close()
        with socket.create_connection(("127.0.0.1", proxy.port)):
            proxy.wait_until(lambda connections: len(connections) == 2)
