"""Tier 1: pairwise sessions between two nodes, sans-IO.

Both nodes know each other's Ed25519 keys from the transport. Every ten minutes one of them offers an
ephemeral X25519 key, the other answers with its own, and both derive two directional ChaCha20-Poly1305 keys
from four agreements (ephemeral-ephemeral, both ephemeral-static, static-static: the secrets of Noise's KK
pattern) with HKDF-SHA256. The answering side goes on sending with the keys before until it has decrypted
something under the new ones, which is why the offering side confirms with an empty message.

What always holds: a message changes state only after it has decrypted; a counter is used once per key and
direction; an unanswered offer is forgotten after 60 s, the keys before the current ones after 60 s more, and
all of them when the connection ends.
"""

from collections.abc import Callable
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.core.kernel.errors import NetworkError
from app.core.network import keys
from app.core.network.frames import SEAL_BYTES, Frame, Packet, prefix_for, split
from app.core.network.replay import ReplayWindow
from app.core.network.stream_seal import StreamSeal, Undecryptable, derive

REKEY_SECONDS: Final = 600.0
PENDING_SECONDS: Final = 60.0
GRACE_SECONDS: Final = 60.0
LATE_SECONDS: Final = 30.0
MAX_COUNTER: Final = 1 << 48
MAX_EPOCH_STEP: Final = 1024
_LABEL: Final = b"swarmllm session 1"
_HEAD_BYTES: Final = 12


class KeyOffer(msgspec.Struct, frozen=True, kw_only=True, tag="key_offer", forbid_unknown_fields=True):
    """An ephemeral key, for the keys that `epoch` will name.

    `node_id` is checked against the sender that the transport authenticated.
    """

    node_id: str
    epoch: int
    ephemeral: bytes


class KeyAnswer(msgspec.Struct, frozen=True, kw_only=True, tag="key_answer", forbid_unknown_fields=True):
    """The other half of an offer's epoch."""

    node_id: str
    epoch: int
    ephemeral: bytes


class KeyConfirm(msgspec.Struct, frozen=True, kw_only=True, tag="key_confirm", forbid_unknown_fields=True):
    """A message sealed with nothing inside under the new keys, so that the answering side may use them."""

    sealed: bytes


Handshake = KeyOffer | KeyAnswer | KeyConfirm


class NoSession(NetworkError):
    """No keys have been agreed with the peer yet."""

    code = "no_session"


class Misattributed(NetworkError):
    """A message claims to come from another node than the one that the transport authenticated."""

    code = "misattributed"


class _Keys:
    """The two keys of an epoch, one per direction."""

    def __init__(self, *, epoch: int, send: bytes, receive: bytes, export: bytes, made: float) -> None:
        self.epoch = epoch
        self.export = export
        self.made = made
        self.counter = 0
        self.window = ReplayWindow()
        self._send = ChaCha20Poly1305(send)
        self._receive = ChaCha20Poly1305(receive)

    def seal(self, plain: bytes, aad: bytes) -> bytes:
        counter, self.counter = self.counter, self.counter + 1
        head = self.epoch.to_bytes(4, "big") + counter.to_bytes(8, "big")
        return head + self._send.encrypt(head, plain, aad)

    def open(self, head: bytes, sealed: bytes, aad: bytes) -> bytes:
        counter = int.from_bytes(head[4:], "big")
        if not self.window.fresh(counter):
            raise Undecryptable("A sealed message was sent a second time or is too old.")
        try:
            plain = self._receive.decrypt(head, sealed, aad)
        except InvalidTag:
            raise Undecryptable("A sealed message is not authentic.") from None
        self.window.accept(counter)
        return plain


class _Pending:
    """An offer that has not been answered yet."""

    def __init__(self, *, epoch: int, private: X25519PrivateKey, public: bytes, made: float) -> None:
        self.epoch = epoch
        self.private = private
        self.public = public
        self.made = made


class Session:
    """The keys shared with one peer.

    `peer` is its Ed25519 public key as the transport authenticated it; `clock` counts seconds and never goes
    back; `random` returns that many random bytes.
    """

    def __init__(
        self,
        *,
        keys: keys.NodeKeys,
        peer: bytes,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self._own = keys
        self._peer = peer
        self._clock = clock
        self._random = random
        self._begun = clock()
        self._current: _Keys | None = None
        self._next: _Keys | None = None
        self._previous: _Keys | None = None
        self._previous_until = 0.0
        self._pending: _Pending | None = None
        self._offered_epoch = 0
        self._used_epoch = 0

    @property
    def ready(self) -> bool:
        """Whether something can be sealed."""
        return self._current is not None

    def due(self) -> bool:
        """Whether this side should offer new keys now.

        The side with the lower key offers when a rekey is due; the other only once that is half a minute
        late, so that one frozen side cannot keep old keys alive and two healthy ones do not collide.
        """
        self._expire()
        if self._pending is not None:
            return False
        wanted_at = self._begun if self._current is None else self._current.made + REKEY_SECONDS
        patience = 0.0 if self._own.public < self._peer else LATE_SECONDS
        return self._clock() >= wanted_at + patience

    def offer(self) -> KeyOffer:
        """A new offer, replacing an unanswered one."""
        self._offered_epoch = epoch = max(self._offered_epoch, self._used_epoch) + 1
        private, public = keys.new_agreement_key(self._random(32))
        self._pending = _Pending(epoch=epoch, private=private, public=public, made=self._clock())
        return KeyOffer(node_id=self._own.node_id, epoch=epoch, ephemeral=public)

    def receive(self, message: Handshake) -> Handshake | None:
        """Takes a handshake message in and returns what to send back.

        Raises Misattributed when it claims another sender, Undecryptable when it fits nothing.
        """
        self._expire()
        if isinstance(message, KeyConfirm):
            self.open(message.sealed, b"")
            return None
        if message.node_id != self._peer.hex():
            raise Misattributed("A key exchange claims to come from another node than its sender.")
        if isinstance(message, KeyOffer):
            return self._answer(message)
        return self._confirm(message)

    def _answer(self, offer: KeyOffer) -> KeyAnswer | None:
        if self._pending is not None and self._own.public < self._peer:
            return None
        if not self._used_epoch < offer.epoch <= self._used_epoch + MAX_EPOCH_STEP:
            raise Undecryptable("A key exchange names an epoch that is over.")
        private, public = keys.new_agreement_key(self._random(32))
        made = self._derive(private, public, offer.ephemeral, epoch=offer.epoch, offered=False)
        self._pending = None
        self._used_epoch = offer.epoch
        if self._current is None:
            self._current = made
        else:
            self._next = made
        return KeyAnswer(node_id=self._own.node_id, epoch=offer.epoch, ephemeral=public)

    def _confirm(self, answer: KeyAnswer) -> KeyConfirm:
        pending = self._pending
        if pending is None or pending.epoch != answer.epoch:
            raise Undecryptable("A key exchange answers nothing that was asked.")
        made = self._derive(
            pending.private, pending.public, answer.ephemeral, epoch=answer.epoch, offered=True
        )
        self._pending = None
        self._used_epoch = answer.epoch
        self._retire()
        self._current = made
        return KeyConfirm(sealed=made.seal(b"", b""))

    def _derive(
        self, private: X25519PrivateKey, public: bytes, theirs: bytes, *, epoch: int, offered: bool
    ) -> _Keys:
        static = keys.montgomery_of(self._peer)
        try:
            mine_static, theirs_static = keys.exchange(private, static), self._own.agree(theirs)
            secret = keys.exchange(private, theirs) + self._own.agree(static)
        except keys.BadKey as error:
            raise Undecryptable(f"A key exchange failed: {error}") from None
        if offered:
            secret += mine_static + theirs_static
            who = self._own.public + self._peer + public + theirs
        else:
            secret += theirs_static + mine_static
            who = self._peer + self._own.public + theirs + public
        material = HKDF(
            algorithm=hashes.SHA256(), length=96, salt=_LABEL, info=who + epoch.to_bytes(4, "big")
        ).derive(secret)
        first, second, export = material[:32], material[32:64], material[64:]
        send, receive = (first, second) if offered else (second, first)
        return _Keys(epoch=epoch, send=send, receive=receive, export=export, made=self._clock())

    def _retire(self) -> None:
        if self._current is not None:
            self._previous = self._current
            self._previous_until = self._clock() + GRACE_SECONDS
        self._next = None

    def _expire(self) -> None:
        now = self._clock()
        if self._pending is not None and now - self._pending.made >= PENDING_SECONDS:
            self._pending = None
        if self._next is not None and now - self._next.made >= PENDING_SECONDS:
            self._next = None
        if self._previous is not None and now >= self._previous_until:
            self._previous = None

    def seal(self, plain: bytes, aad: bytes) -> bytes:
        """`[u32 epoch][u64 counter][ciphertext][16-byte tag]`. Raises NoSession."""
        if self._current is None:
            raise NoSession("No keys have been agreed with the peer yet.")
        if self._current.counter >= MAX_COUNTER:
            raise NoSession("The keys agreed with the peer are used up.")
        return self._current.seal(plain, aad)

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """The plaintext of what the peer sealed. Raises Undecryptable, and then nothing has changed."""
        self._expire()
        if len(sealed) < SEAL_BYTES:
            raise Undecryptable("A sealed message is too short.")
        head = sealed[:_HEAD_BYTES]
        epoch = int.from_bytes(head[:4], "big")
        for candidate in (self._current, self._next, self._previous):
            if candidate is not None and candidate.epoch == epoch:
                plain = candidate.open(head, sealed[_HEAD_BYTES:], aad)
                if candidate is self._next:
                    self._retire()
                    self._current = candidate
                return plain
        raise Undecryptable("A sealed message is under keys that this node does not hold.")

    def seal_frame(self, frame: Frame) -> bytes:
        """`frame` as it goes over the wire, sealed, with its prefix authenticated."""
        prefix = prefix_for(frame, sealed=True).pack()
        return prefix + self.seal(frame.header + frame.payload, prefix)

    def open_packet(self, packet: Packet) -> Frame:
        """The frame inside a sealed packet. Raises Undecryptable, BadFrame."""
        return split(packet.prefix, self.open(packet.body, packet.prefix.pack()))

    def stream(self, opening: bytes, *, opened_here: bool) -> StreamSeal:
        """The keys of a stream whose first frame, sealed as `opening`, this side has sent or opened.

        They follow from the epoch and the counter of that frame, so they are the stream's own. Raises
        Undecryptable when that epoch is forgotten.
        """
        epoch = int.from_bytes(opening[:4], "big")
        for candidate in (self._current, self._next, self._previous):
            if candidate is not None and candidate.epoch == epoch:
                opener = self._own.public if opened_here else self._peer
                secret = derive(candidate.export, opener + opening[:_HEAD_BYTES])
                return StreamSeal(secret=secret, opened_here=opened_here, clock=self._clock)
        raise Undecryptable("A stream was opened under keys that this node does not hold.")
