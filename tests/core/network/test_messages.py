import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.kernel.errors import ModelNotFound, SwarmError
from app.core.network import topics
from app.core.network.frames import BadFrame, Frame, Tag
from app.core.network.messages import (
    Failure,
    Hello,
    Kinds,
    UnknownKind,
    expect,
    failure_of,
    tag_of,
    to_frame,
)
from app.core.network.topics import Topics, UnhandledVariant


class Announce(msgspec.Struct, frozen=True, kw_only=True, tag="announce"):
    node_id: str
    shard: int


class Query(msgspec.Struct, frozen=True, tag="query"):
    text: str


def test_a_message_is_read_as_its_kind() -> None:
    assert Kinds((Announce, Query)).read(to_frame(Query("x"))) == Query("x")


def test_fields_of_a_newer_version_are_ignored_and_wrong_types_are_not() -> None:
    kinds = Kinds((Query,))
    assert kinds.read(Frame(Tag.JSON, b'{"type":"query","text":"x","new":1}')) == Query("x")
    with pytest.raises(BadFrame):
        kinds.read(Frame(Tag.JSON, b'{"type":"query","text":1}'))


def test_unknown_kinds_are_told_apart_from_garbage() -> None:
    with pytest.raises(UnknownKind):
        Kinds((Query,)).read(Frame(Tag.JSON, b'{"type":"future"}'))
    with pytest.raises(BadFrame):
        Kinds((Query,)).read(Frame(Tag.SHARD, b'{"type":"query"}'))


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises((BadFrame, UnknownKind)):
        Kinds((Query, Announce, Hello)).read(Frame(Tag.JSON, data))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(BadFrame):
        Kinds((Query,)).read(Frame(Tag.JSON, b'{"type":"query","text":' + b"[" * 200_000))


def test_two_kinds_of_one_name_are_noticed_at_once() -> None:
    class Other(msgspec.Struct, tag="query"):
        pass

    with pytest.raises(ValueError, match="query"):
        Kinds((Query, Other))


def test_a_struct_without_a_tag_is_no_message() -> None:
    class Plain(msgspec.Struct):
        pass

    with pytest.raises(ValueError, match="tag"):
        tag_of(Plain)


def test_errors_cross_with_their_code_and_bounded_text() -> None:
    with pytest.raises(ModelNotFound, match="The peer answered: no such model"):
        expect(failure_of(ModelNotFound("no such model")), Query)
    with pytest.raises(SwarmError) as raised:
        expect(to_frame(Failure(code="from the future", message="x" * 100_000)), Query)
    assert len(raised.value.message) < 1100
    with pytest.raises(UnknownKind):
        expect(to_frame(Announce(node_id="a", shard=1)), Query)


def test_gossip_reaches_the_handler_of_its_kind() -> None:
    got: list[tuple[str, Announce]] = []
    registry = Topics({topics.MODELS: (Announce,)})
    registry.handle(Announce, lambda origin, message: got.append((origin, message)))
    registry.check()
    topic, body = registry.encode(Announce(node_id="alice", shard=3))
    assert topic == topics.MODELS
    assert registry.deliver(topic, "alice", body)
    assert got == [("alice", Announce(node_id="alice", shard=3))]


def test_a_variant_without_a_handler_stops_the_start() -> None:
    registry = Topics({topics.MODELS: (Announce,), topics.POOLS: (Query,)})
    registry.handle(Announce, lambda *_: None)
    with pytest.raises(UnhandledVariant, match="query"):
        registry.check()


def test_a_handler_or_a_message_without_a_topic_is_an_error() -> None:
    registry = Topics({topics.MODELS: (Announce,)})
    with pytest.raises(UnhandledVariant):
        registry.handle(Query, lambda *_: None)
    with pytest.raises(UnhandledVariant):
        registry.encode(Query("x"))
    with pytest.raises(UnhandledVariant):
        Topics({"swarm/nothing": (Query,)})
    with pytest.raises(UnhandledVariant):
        Topics({topics.MODELS: (Query,), topics.POOLS: (Query,)})


def test_gossip_that_names_another_node_than_its_signer_is_refused() -> None:
    registry = Topics({topics.MODELS: (Announce,)})
    registry.handle(Announce, lambda *_: None)
    with pytest.raises(BadFrame):
        registry.deliver(topics.MODELS, "mallory", msgspec.json.encode(Announce(node_id="alice", shard=1)))


def test_gossip_of_a_newer_version_is_ignored() -> None:
    registry = Topics({topics.MODELS: (Announce,)})
    registry.handle(Announce, lambda *_: None)
    assert not registry.deliver(topics.MODELS, "alice", b'{"type":"future"}')
    assert not registry.deliver("swarm/future", "alice", b"{}")
