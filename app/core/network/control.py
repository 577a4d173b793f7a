"""The control stream of one peer: introductions, keys, peer exchange.

The node with the lower peer id opens it, whoever dialled, so that there is one. Both say hello first; a peer
is introduced once its hello has been checked against the identity that the transport authenticated, and ready
once keys are agreed or one of the two wants none.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from app.core.network.conduct import Offence
from app.core.network.exchange import ToldPeer
from app.core.network.frame_stream import FrameStream
from app.core.network.messages import Hello, Kinds, Peers, UnknownKind, to_frame
from app.core.network.sessions import KeyAnswer, KeyConfirm, KeyOffer, Misattributed, Session
from app.core.network.stream_seal import Undecryptable

TICK_SECONDS: Final = 5.0
HELLO_SECONDS: Final = 10.0
KINDS: Final = Kinds((Hello, Peers, KeyOffer, KeyAnswer, KeyConfirm))


class Control:
    """What is agreed with one peer. `encryption` is this node's wish, `offend` books the peer's breaches.

    `learned` gets what the peer tells in peer exchange, `introduced` is called with its hello.
    """

    def __init__(
        self,
        *,
        session: Session,
        node_id: str,
        encryption: bool,
        offend: Callable[[Offence], None],
        introduced: Callable[[Hello], None],
        learned: Callable[[tuple[ToldPeer, ...]], None],
    ) -> None:
        self.session = session
        self._node_id = node_id
        self._encryption = encryption
        self._offend = offend
        self._introduced = introduced
        self._learned = learned
        self.hello: Hello | None = None
        self.ready = asyncio.Event()

    @property
    def sealed(self) -> bool:
        """Whether both sides want sessions."""
        return self._encryption and self.hello is not None and self.hello.encryption

    async def run(
        self, stream: FrameStream, *, own: Hello, theirs: Hello | None, told: tuple[ToldPeer, ...]
    ) -> None:
        """Speaks over `stream` until it ends. `theirs` is the peer's hello if it came first.

        Raises StreamClosed at the end, BadFrame and Misattributed after a breach.
        """
        await stream.send(to_frame(own))
        if theirs is None:
            async with asyncio.timeout(HELLO_SECONDS):
                message = KINDS.read(await stream.receive())
            if not isinstance(message, Hello):
                self._offend(Offence.BAD_MESSAGE)
                return
            theirs = message
        self._meet(theirs)
        if told:
            await stream.send(to_frame(Peers(peers=told)))
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(self._keep_keys(stream), name="keep keys")
            try:
                await self._listen(stream)
            finally:
                keeping.cancel()

    def _meet(self, hello: Hello) -> None:
        if hello.node_id != self._node_id:
            self._offend(Offence.MISATTRIBUTED)
            raise Misattributed("A hello claims to come from another node than its sender.")
        self.hello = hello
        if not self.sealed:
            self.ready.set()
        self._introduced(hello)

    async def _listen(self, stream: FrameStream) -> None:
        while True:
            try:
                message = KINDS.read(await stream.receive())
            except UnknownKind:
                continue
            match message:
                case Peers():
                    self._learned(message.peers)
                case KeyOffer() | KeyAnswer() | KeyConfirm():
                    await self._handshake(stream, message)
                case _:
                    self._offend(Offence.BAD_MESSAGE)

    async def _handshake(self, stream: FrameStream, message: KeyOffer | KeyAnswer | KeyConfirm) -> None:
        try:
            answer = self.session.receive(message)
        except Misattributed:
            self._offend(Offence.MISATTRIBUTED)
            return
        except Undecryptable:
            self._offend(Offence.UNDECRYPTABLE)
            return
        if answer is not None:
            await stream.send(to_frame(answer))
        if self.session.ready:
            self.ready.set()

    async def _keep_keys(self, stream: FrameStream) -> None:
        while self.sealed:
            if self.session.due():
                await stream.send(to_frame(self.session.offer()))
            await asyncio.sleep(TICK_SECONDS)
