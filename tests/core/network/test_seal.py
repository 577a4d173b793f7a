import itertools
import os
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.network.keys import NodeKeys
from app.core.network.seal import (
    EPOCH_SECONDS,
    MAX_BODY,
    WINDOW_SECONDS,
    Gossip,
    Reason,
    Refused,
    SeenMessages,
    network_secret,
)

TOPIC = "swarm/models"
ALICE, BOB = NodeKeys(bytes(32)), NodeKeys(b"\1" * 32)


class Wall:
    now = 1_800_000_000.0


def gossip(keys: NodeKeys, wall: Wall, network: str | None = None) -> Gossip:
    return Gossip(keys=keys, secret=network_secret(network), wall=lambda: wall.now, random=os.urandom)


def reason(call: Callable[[], object]) -> Reason:
    with pytest.raises(Refused) as refused:
        call()
    return refused.value.reason


def test_a_message_arrives_with_its_origin() -> None:
    wall = Wall()
    opened = gossip(BOB, wall).open(TOPIC, gossip(ALICE, wall).seal_signed(TOPIC, b"hello"))
    assert (opened.origin, opened.body) == (ALICE.node_id, b"hello")


def test_a_message_is_accepted_once() -> None:
    wall = Wall()
    receiver, data = gossip(BOB, wall), gossip(ALICE, wall).seal_signed(TOPIC, b"x")
    receiver.open(TOPIC, data)
    assert reason(lambda: receiver.open(TOPIC, data)) is Reason.REPLAYED


@pytest.mark.parametrize("age", [WINDOW_SECONDS + 1, -WINDOW_SECONDS - 1, 3 * EPOCH_SECONDS])
def test_old_and_future_messages_are_refused(age: float) -> None:
    wall = Wall()
    data = gossip(ALICE, wall).seal_signed(TOPIC, b"x")
    wall.now += age
    assert reason(lambda: gossip(BOB, wall).open(TOPIC, data)) is Reason.STALE


def test_a_message_sealed_just_before_the_hour_is_read_just_after() -> None:
    wall = Wall()
    wall.now = (int(wall.now) // EPOCH_SECONDS + 1) * EPOCH_SECONDS - 1.0
    data = gossip(ALICE, wall).seal_signed(TOPIC, b"x")
    wall.now += 2
    assert gossip(BOB, wall).open(TOPIC, data).body == b"x"


def test_another_network_reads_nothing() -> None:
    wall = Wall()
    data = gossip(ALICE, wall, "family").seal_signed(TOPIC, b"x")
    assert reason(lambda: gossip(BOB, wall).open(TOPIC, data)) is Reason.FOREIGN


def test_a_message_cannot_be_moved_to_another_topic() -> None:
    wall = Wall()
    data = gossip(ALICE, wall).seal_signed(TOPIC, b"x")
    assert reason(lambda: gossip(BOB, wall).open("swarm/credits", data)) is Reason.FOREIGN


def test_a_member_cannot_speak_for_another() -> None:
    """Mallory knows the network's key, as everyone does, but not Alice's."""
    wall = Wall()

    class Mallory(NodeKeys):
        def __init__(self) -> None:
            super().__init__(b"\2" * 32)
            self.public = ALICE.public

    assert reason(
        lambda: gossip(BOB, wall).open(TOPIC, gossip(Mallory(), wall).seal_signed(TOPIC, b"x"))
    ) is (Reason.FORGED)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        gossip(BOB, Wall()).open(TOPIC, data)


@given(st.integers(min_value=0), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(place: int, change: int) -> None:
    wall = Wall()
    data = bytearray(gossip(ALICE, wall).seal_signed(TOPIC, b"hello"))
    data[place % len(data)] ^= change
    with pytest.raises(Refused):
        gossip(BOB, wall).open(TOPIC, bytes(data))


def test_an_oversized_message_is_not_sent() -> None:
    with pytest.raises(ValueError, match="over the bound"):
        gossip(ALICE, Wall()).seal_signed(TOPIC, bytes(MAX_BODY + 1))


def test_a_flood_costs_its_sender_and_nothing_is_accepted_twice() -> None:
    seen = SeenMessages(100)
    assert seen.add(b"honest", b"1", 1000.0, 1000.0)
    accepted = [n for n in range(500) if seen.add(b"flood", str(n).encode(), 1000.0 + n / 100, 1000.0)]
    assert len(seen) <= 100
    assert len(accepted) == 500
    assert not any(seen.add(b"flood", str(n).encode(), 1000.0 + n / 100, 1000.0) for n in accepted)
    assert not seen.add(b"honest", b"1", 1000.0, 1000.0)
    assert seen.add(b"honest", b"2", 1000.0, 1000.0)


def test_what_is_out_of_the_window_is_forgotten() -> None:
    seen = SeenMessages(1000)
    for now in itertools.islice(itertools.count(1000.0, 30.0), 100):
        seen.add(b"origin", str(now).encode(), now, now)
    assert len(seen) < 15
