"""Typed gossip: which messages belong to which of the six topics, and who handles each.

A topic's variants are declared once. `check` refuses to start a node that declares a variant nobody handles,
or handles one that no topic carries: such a message would otherwise vanish at the wire without a trace. A
variant that this version does not know, from a newer peer, is counted and ignored.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from app.core.network.frames import BadFrame, Frame, Tag
from app.core.network.messages import Kinds, UnknownKind, tag_of

MODELS: Final = "swarm/models"
HEALTH: Final = "swarm/health"
CREDITS: Final = "swarm/credits"
IDENTITY: Final = "swarm/identity"
POOLS: Final = "swarm/pools"
REGIONS: Final = "swarm/regions"
TOPICS: Final = (MODELS, HEALTH, CREDITS, IDENTITY, POOLS, REGIONS)

V = TypeVar("V", bound=msgspec.Struct)
Handler = Callable[[str, Any], None]


class UnhandledVariant(TypeError):
    """A declared gossip message has no handler, or a handled one no topic: a bug to find at start-up."""


class Topics:
    """The declared variants of each topic and their handlers.

    `variants` maps topic to message kinds. A kind belongs to one topic only. Raises UnhandledVariant for an
    unknown topic or a kind declared twice.
    """

    def __init__(self, variants: Mapping[str, Sequence[type[msgspec.Struct]]]) -> None:
        self._topic_of: dict[type[msgspec.Struct], str] = {}
        self._handlers: dict[type[msgspec.Struct], Handler] = {}
        self._kinds: dict[str, Kinds] = {}
        for topic, kinds in variants.items():
            if topic not in TOPICS:
                raise UnhandledVariant(f"There is no gossip topic {topic!r}.")
            self._kinds[topic] = Kinds(kinds)
            for kind in kinds:
                if kind in self._topic_of:
                    raise UnhandledVariant(f"{kind.__name__} is declared for two gossip topics.")
                self._topic_of[kind] = topic

    def handle(self, kind: type[V], handler: Callable[[str, V], None]) -> None:
        """Calls `handler(origin node id, message)` for each message of `kind`."""
        if kind not in self._topic_of:
            raise UnhandledVariant(f"{kind.__name__} is not declared for any gossip topic.")
        if kind in self._handlers:
            raise UnhandledVariant(f"{kind.__name__} already has a handler.")
        self._handlers[kind] = handler

    def check(self) -> None:
        """Raises UnhandledVariant unless every declared kind has its handler."""
        missing = sorted(tag_of(kind) for kind in self._topic_of if kind not in self._handlers)
        if missing:
            raise UnhandledVariant(f"No part of the node handles the gossip messages {', '.join(missing)}.")

    def encode(self, message: msgspec.Struct) -> tuple[str, bytes]:
        """The topic of `message` and its body. Raises UnhandledVariant for an undeclared kind."""
        topic = self._topic_of.get(type(message))
        if topic is None:
            raise UnhandledVariant(f"{type(message).__name__} is not declared for any gossip topic.")
        return topic, msgspec.json.encode(message)

    def deliver(self, topic: str, origin: str, body: bytes) -> bool:
        """Hands an authentic message to its handler; False when its kind is unknown here. Raises BadFrame."""
        kinds = self._kinds.get(topic)
        if kinds is None:
            return False
        try:
            message = kinds.read(Frame(Tag.JSON, body))
        except UnknownKind:
            return False
        _check_claim(message, origin)
        self._handlers[type(message)](origin, message)
        return True


def _check_claim(message: msgspec.Struct, origin: str) -> None:
    """A message that names its node must name its origin."""
    claimed = getattr(message, "node_id", origin)
    if claimed != origin:
        raise BadFrame("A gossip message names another node than the one that signed it.")
