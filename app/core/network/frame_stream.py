"""A stream of frames to a peer, sealed when the two have keys."""

from types import TracebackType
from typing import Protocol

from app.core.network.frames import BadFrame, Frame, Packet, pack
from app.core.network.stream_seal import StreamSeal


class Wire(Protocol):
    """What carries packets: the host's link."""

    @property
    def closed(self) -> bool: ...

    async def receive(self) -> Packet: ...

    async def send(self, data: bytes) -> None: ...

    def finish(self) -> None: ...

    def abort(self) -> None: ...


class FrameStream:
    """Long-lived and bidirectional. One task receives and one sends at a time.

    Leaving it as a context finishes it, or aborts it when an exception passes.
    """

    def __init__(self, wire: Wire, *, peer_id: str, seal: StreamSeal | None) -> None:
        self.peer_id = peer_id
        self._wire = wire
        self._seal = seal

    @property
    def sealed(self) -> bool:
        """Whether frames are encrypted between the two nodes beyond what the transport does."""
        return self._seal is not None

    async def send(self, frame: Frame) -> None:
        """Header and payload in one write, waiting while the peer reads slowly. Raises StreamClosed."""
        await self._wire.send(pack(frame) if self._seal is None else self._seal.seal_frame(frame))

    async def receive(self) -> Frame:
        """The next frame. Raises StreamClosed at the end, BadFrame and Undecryptable."""
        packet = await self._wire.receive()
        if not packet.prefix.sealed:
            if self._seal is not None:
                raise BadFrame("A peer sent an open frame on a sealed stream.")
            return packet.frame()
        if self._seal is None:
            raise BadFrame("A peer sent a sealed frame on an open stream.")
        return self._seal.open_packet(packet)

    def finish(self) -> None:
        """Nothing more will be sent; what was is still delivered."""
        self._wire.finish()

    def abort(self) -> None:
        """Ends both directions at once."""
        self._wire.abort()

    async def __aenter__(self) -> "FrameStream":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
        else:
            self.abort()
