"""Invite codes: `swarm://<base64url(key | nonce | ChaCha20-Poly1305(addresses))>`.

The key travels in the code, so a code hides its addresses from a glance and from a log that cuts it, not from
whoever holds it whole. The plaintext is one to eight multiaddrs, each naming its peer, one per line.
"""

import base64
import binascii
import io
from collections.abc import Callable, Sequence
from typing import Final

import segno
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from app.core.kernel.errors import InvalidRequest
from app.core.network.addresses import Address, parse_address

SCHEME: Final = "swarm://"
MAX_ADDRESSES: Final = 8
MAX_CODE: Final = 4096
_KEY: Final = 32
_NONCE: Final = 12


def make_invite(addresses: Sequence[Address], *, random: Callable[[int], bytes]) -> str:
    """A code for the first eight of `addresses`, which name their peer. Raises InvalidRequest without any."""
    chosen = addresses[:MAX_ADDRESSES]
    if not chosen or any(address.peer_id is None for address in chosen):
        raise InvalidRequest("An invite needs at least one address at which this node can be reached.")
    secret, nonce = random(_KEY), random(_NONCE)
    plain = "\n".join(str(address) for address in chosen).encode()
    sealed = ChaCha20Poly1305(secret).encrypt(nonce, plain, SCHEME.encode())
    return SCHEME + base64.urlsafe_b64encode(secret + nonce + sealed).decode().rstrip("=")


def read_invite(code: str) -> tuple[Address, ...]:
    """The addresses in `code`. Raises InvalidRequest with a message for whoever pasted it."""
    text = code.strip()
    if not text.startswith(SCHEME):
        raise InvalidRequest("An invite code begins with swarm://.")
    if len(text) > MAX_CODE:
        raise InvalidRequest("The invite code is too long.")
    body = text[len(SCHEME) :]
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        secret, nonce, sealed = raw[:_KEY], raw[_KEY : _KEY + _NONCE], raw[_KEY + _NONCE :]
        lines = ChaCha20Poly1305(secret).decrypt(nonce, sealed, SCHEME.encode()).decode().split("\n")
        addresses = tuple(parse_address(line) for line in lines[: MAX_ADDRESSES + 1])
    except (binascii.Error, InvalidTag, ValueError):
        raise InvalidRequest("The invite code is damaged: copy it again, whole.") from None
    if len(addresses) > MAX_ADDRESSES or any(address.peer_id is None for address in addresses):
        raise InvalidRequest("The invite code is damaged: copy it again, whole.")
    return addresses


def invite_svg(code: str) -> str:
    """`code` as a QR code, an SVG document that scales to its container."""
    picture = io.BytesIO()
    segno.make(code, error="l", micro=False).save(
        picture, kind="svg", omitsize=True, xmldecl=False, border=4, light="white"
    )
    return picture.getvalue().decode()
