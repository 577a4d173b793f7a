"""Requests and streams over the host's links, both ways.

The first frame of a stream says what it is for and is sealed by the session; all later ones by keys of the
stream's own. A request that takes longer than a second is acknowledged, so the asker can tell a peer that
works from one that never got it.
"""

import asyncio
import logging
from typing import Final

import msgspec

from app.core.kernel.errors import NetworkError, SwarmError
from app.core.network.conduct import Offence
from app.core.network.control import Control
from app.core.network.frame_stream import FrameStream, Wire
from app.core.network.frames import PREFIX, BadFrame, Frame, Packet, pack
from app.core.network.messages import Acknowledge, Failure, Kinds, UnknownKind, failure_of, to_frame
from app.core.network.services import Answerer, Services
from app.core.network.stream_seal import StreamSeal, Undecryptable

log: Final = logging.getLogger(__name__)
FIRST_FRAME_SECONDS: Final = 10.0
ACKNOWLEDGE_AFTER: Final = 1.0
READY_SECONDS: Final = 10.0
ACKNOWLEDGED: Final = to_frame(Acknowledge())


class NoAnswer(NetworkError):
    """The peer did not acknowledge or answer a request in time."""

    code = "no_answer"


async def begin(wire: Wire, control: Control, opening: Frame, *, peer_id: str) -> FrameStream:
    """Sends the first frame over a new wire and returns the stream. Raises NoAnswer, StreamClosed."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            await control.ready.wait()
    except TimeoutError:
        raise NoAnswer("The peer has not agreed on keys in time.") from None
    seal: StreamSeal | None = None
    data = pack(opening)
    if control.sealed:
        data = control.session.seal_frame(opening)
        seal = control.session.stream(data[PREFIX.size :], opened_here=True)
    await wire.send(data)
    return FrameStream(wire, peer_id=peer_id, seal=seal)


async def answer_of(stream: FrameStream, *, acknowledge: float, timeout: float) -> Frame:  # noqa: ASYNC109
    """The one answer to a request. Raises NoAnswer, StreamClosed, BadFrame, Undecryptable."""
    try:
        async with asyncio.timeout(acknowledge):
            frame = await stream.receive()
        if frame == ACKNOWLEDGED:
            async with asyncio.timeout(timeout):
                frame = await stream.receive()
    except TimeoutError:
        raise NoAnswer("The peer did not answer in time.") from None
    return frame


class Inbound:
    """Serves the streams that peers open."""

    def __init__(self, *, services: Services, kinds: Kinds) -> None:
        self._services = services
        self._kinds = kinds

    async def first(self, wire: Wire, control: Control) -> tuple[Packet, msgspec.Struct]:
        """A new stream's first message. Raises NetworkError of the kind that says what is wrong."""
        async with asyncio.timeout(FIRST_FRAME_SECONDS):
            packet = await wire.receive()
            if packet.prefix.sealed:
                await control.ready.wait()
                return packet, self._kinds.read(control.session.open_packet(packet))
        return packet, self._kinds.read(packet.frame())

    async def serve(
        self, wire: Wire, control: Control, packet: Packet, message: msgspec.Struct, *, peer_id: str
    ) -> Offence | None:
        """Answers or accepts; returns what the peer did wrong, if anything."""
        seal = None
        if packet.prefix.sealed:
            seal = control.session.stream(packet.body, opened_here=False)
        stream = FrameStream(wire, peer_id=peer_id, seal=seal)
        answerer, acceptor = self._services.answerer(message), self._services.acceptor(message)
        try:
            if answerer is not None:
                await self._answer(stream, answerer, message)
            elif acceptor is not None:
                await acceptor(peer_id, message, stream)
            stream.finish()
        except BadFrame:
            stream.abort()
            return Offence.BAD_MESSAGE
        except Undecryptable:
            stream.abort()
            return Offence.UNDECRYPTABLE
        except NetworkError as error:
            log.debug("A stream with %s ended: %s", peer_id, error)
            stream.abort()
        except asyncio.CancelledError:
            stream.abort()
            raise
        except Exception:
            log.exception("A stream's handler failed.")
            stream.abort()
        return None

    async def _answer(self, stream: FrameStream, answerer: Answerer, message: msgspec.Struct) -> None:
        work = asyncio.ensure_future(_outcome(answerer, stream.peer_id, message))
        try:
            done, _ = await asyncio.wait({work}, timeout=ACKNOWLEDGE_AFTER)
            if not done:
                await stream.send(ACKNOWLEDGED)
            await stream.send(await work)
        finally:
            work.cancel()

    async def refuse(self, wire: Wire, error: UnknownKind) -> None:
        """Tells the peer that this node does not know what it asked."""
        await wire.send(pack(failure_of(error)))
        wire.finish()


async def _outcome(answerer: Answerer, peer_id: str, message: msgspec.Struct) -> Frame:
    try:
        answer = await answerer(peer_id, message)
    except SwarmError as error:
        return failure_of(error)
    except Exception:
        log.exception("The answer to a peer's request failed.")
        return to_frame(Failure(code="internal_error", message="The peer could not carry the request out."))
    return answer if isinstance(answer, Frame) else to_frame(answer)
