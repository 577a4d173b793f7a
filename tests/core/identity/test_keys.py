"""The node key: a fixed vector of RFC 8032, and what it shows of itself."""

from app.core.identity.keys import NodeKey

# RFC 8032, section 7.1, test 2.
SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
SIGNATURE = (
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def test_it_is_ed25519() -> None:
    key = NodeKey(SEED)
    assert key.node_id == PUBLIC
    assert key.public_bytes.hex() == PUBLIC
    assert key.sign(b"\x72").hex() == SIGNATURE


def test_it_shows_only_its_public_part() -> None:
    key = NodeKey(SEED)
    assert key.short_id == PUBLIC[:16]
    assert repr(key) == f"NodeKey({PUBLIC[:16]})"
