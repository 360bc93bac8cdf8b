"""Pika's connection, but for what is better left to pika no more: it reaches into what pika keeps private.

`pika` is held below its next version for that, and tests/fleet/broker/test_links.py watches over it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pika.adapters.select_connection import SelectConnection
from pika.exceptions import ConnectionOpenAborted

if TYPE_CHECKING:
    from collections.abc import Callable

    import pika

    from .loop import Loop

# Bytes up to which joining what is to be sent costs less than another call of the system; one record of TLS.
_JOINED: Final = 16_384


def connect(
    loop: Loop,
    parameters: pika.ConnectionParameters,
    opened: Callable[[Any], None],
    failed: Callable[[Any, Any], None],
    lost: Callable[[Any, Any], None],
) -> Any:
    """Begin to connect, and return a connection of pika's, which has `cut` beside pika's methods.

    Args:
        loop: Whose thread it lives on.
        parameters: Which broker, and how.
        opened: Called with the connection when it is open.
        failed: Called with it and the reason when it could not be had.
        lost: Called with it and the reason when it has ended.
    """
    return _Connection(
        parameters,
        on_open_callback=opened,
        on_open_error_callback=failed,
        on_close_callback=lost,
        custom_ioloop=loop.pika,
    )


_Pika: Any = SelectConnection  # pyright cannot follow what pika's classes are derived from


class _Connection(_Pika):  # type: ignore[misc]
    """A connection of pika's.

    Pika has calls of the system for each frame that it sends, and every one of those lets a thread of a job
    have the interpreter, which it gives back when it likes. Here all that is sent in a round of the loop goes
    out at its end, in one piece if it is short.
    """

    def _adapter_emit_data(self, data: bytes) -> None:
        transport: Any = self._transport
        waiting: Any = getattr(transport, "_tx_buffers", None)
        if waiting and len(waiting[-1]) + len(data) <= _JOINED:
            waiting[-1] += data
            transport._tx_buffered_byte_count += len(data)
        elif self.params.ssl_options is None:
            if not waiting:
                self.ioloop.at_end(self._flush)
            transport._buffer_tx_data(data)
        else:  # TLS may have to read before it can write: pika knows when
            super()._adapter_emit_data(data)

    def _flush(self) -> None:
        """Send what waits, and have pika send what the system does not take now."""
        transport: Any = self._transport
        if transport is not None and transport._tx_buffers:
            transport._on_socket_writable()
            if transport._tx_buffers and transport._state == transport._STATE_ACTIVE:
                self._nbio.set_writer(transport._sock.fileno(), transport._on_socket_writable)

    def _on_connection_workflow_done(self, conn_or_exc: Any) -> None:
        # A slip of 1.4: closed within AMQP's handshake, it is told so by a class, and fails.
        super()._on_connection_workflow_done(conn_or_exc() if isinstance(conn_or_exc, type) else conn_or_exc)

    def cut(self) -> None:
        """End it in whatever state it is, without the broker; the callbacks tell when it has ended."""
        self._terminate_stream(ConnectionOpenAborted("cut"))
