import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.network import keys

seeds = st.binary(min_size=32, max_size=32)


@given(seeds, seeds)
@settings(max_examples=30, deadline=None)
def test_two_nodes_agree_on_the_same_secret_from_their_public_keys(one: bytes, other: bytes) -> None:
    a, b = keys.NodeKeys(one), keys.NodeKeys(other)
    assert a.agree(keys.montgomery_of(b.public)) == b.agree(keys.montgomery_of(a.public))


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_peer_ids_and_public_keys_convert_both_ways(seed: bytes) -> None:
    node = keys.NodeKeys(seed)
    assert node.peer_id.startswith("12D3KooW")
    assert keys.public_of(node.peer_id) == node.public
    assert keys.node_id_of(node.peer_id) == node.node_id


def test_the_peer_id_is_the_one_libp2p_gives_the_key() -> None:
    from libp2p.crypto.ed25519 import Ed25519PublicKey
    from libp2p.peer.id import ID

    node = keys.NodeKeys(bytes(range(32)))
    assert node.peer_id == str(ID.from_pubkey(Ed25519PublicKey.from_bytes(node.public)))


@given(st.text(max_size=80))
def test_other_text_is_no_peer_id(text: str) -> None:
    with pytest.raises(keys.BadKey):
        keys.public_of(text)


@given(st.binary(max_size=70), st.binary(max_size=70), st.binary(max_size=20))
def test_verify_never_raises(public: bytes, signature: bytes, data: bytes) -> None:
    assert not keys.verify(public, signature, data)


def test_a_signature_holds_for_its_data_alone() -> None:
    node = keys.NodeKeys(bytes(32))
    signature = node.sign(b"yes")
    assert keys.verify(node.public, signature, b"yes")
    assert not keys.verify(node.public, signature, b"no")


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31), (2**255 - 20).to_bytes(32, "little")])
def test_degenerate_points_are_refused(point: bytes) -> None:
    with pytest.raises(keys.BadKey):
        keys.montgomery_of(point)


def test_a_key_of_low_order_is_refused() -> None:
    with pytest.raises(keys.BadKey):
        keys.NodeKeys(bytes(32)).agree(bytes(32))


def test_the_seed_is_the_one_the_signing_key_was_made_of() -> None:
    seed = bytes(range(32))
    assert (
        keys.NodeKeys(seed).public
        == Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    )
