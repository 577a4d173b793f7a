"""The worker's end of the socket: commands come in through a thread, reports go out once a tick.

The thread blocks in `recv` and holds no lock while it does, so it costs the decoding nothing. When the
node's end closes, however it does, the worker has nothing left to live for and `on_end` is called.
"""

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

import msgspec

from app.core.engine.framing import PREFIX, FrameTooLarge, pack, sizes
from app.core.engine.messages import Command, Report, Shutdown

log = logging.getLogger(__name__)

Incoming = tuple[Command, bytearray]


class Link:
    """Frames over `sock`. `start` begins to read; `on_end` is called in the reading thread."""

    def __init__(self, sock: socket.socket, *, on_end: Callable[[], None]) -> None:
        self._sock = sock
        self._on_end = on_end
        self._inbox: SimpleQueue[Incoming] = SimpleQueue()
        self._decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
        self._encoder = msgspec.msgpack.Encoder()
        self._outgoing: list[bytes] = []
        self._thread = threading.Thread(target=self._read, name="link-reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def receive(self, *, timeout: float | None) -> Incoming | None:
        """The next command; None where none came within `timeout` seconds (0: do not wait)."""
        try:
            return self._inbox.get(block=timeout != 0, timeout=timeout)
        except Empty:
            return None

    def put(self, report: Report, payload: bytes | memoryview = b"") -> None:
        """Queues a report for the next `flush`."""
        self._outgoing.append(pack(self._encoder.encode(report), payload))

    def flush(self) -> None:
        """Sends what was put. A node that is gone ends the worker."""
        if not self._outgoing:
            return
        frames, self._outgoing = self._outgoing, []
        try:
            self._sock.sendall(frames[0] if len(frames) == 1 else b"".join(frames))
        except OSError:
            self._on_end()

    def last_word(self, report: Report) -> None:
        """Sends `report` at once and ends the worker, whatever was put. For another thread than that of
        `put` and `flush`, which must not be in either."""
        with suppress(OSError):
            self._sock.sendall(pack(self._encoder.encode(report), b""))
        self._on_end()

    def _read(self) -> None:
        try:
            while True:
                header, payload = sizes(bytes(self._exactly(PREFIX.size)))
                command = self._decoder.decode(self._exactly(header))
                body = self._exactly(payload)
                if isinstance(command, Shutdown):
                    break
                self._inbox.put((command, body))
        except (EOFError, OSError):
            log.debug("the node closed the connection")
        except (FrameTooLarge, msgspec.MsgspecError) as error:
            log.error("the node sent a frame that is no command: %s", error)  # noqa: TRY400
        self._on_end()

    def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            count = self._sock.recv_into(view)
            if not count:
                raise EOFError
            view = view[count:]
        return data
