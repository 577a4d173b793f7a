"""Signed records for the DHT: `[32-byte public key][64-byte signature][u64 milliseconds][data]`.

Whoever stores or passes on a record cannot change it, move it to another key, or keep it alive: the signature
covers key, time and data, and a record is worth nothing an hour after it was signed. Of two records the newer
wins.
"""

from typing import Final

import msgspec

from app.core.kernel.errors import NetworkError
from app.core.network.keys import KEY_BYTES, SIGNATURE_BYTES, NodeKeys, verify

LIFETIME_SECONDS: Final = 3600.0
SKEW_SECONDS: Final = 300.0
MAX_DATA: Final = 32 << 10
NAMESPACE: Final = "swarmllm"
_DOMAIN: Final = b"swarmllm record 1\0"
_HEAD: Final = KEY_BYTES + SIGNATURE_BYTES + 8


class BadRecord(NetworkError):
    """A record of the DHT is forged, over its time or over the bounds."""

    code = "bad_record"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """`data` as the node `origin` signed it at `signed_at` (unix seconds)."""

    origin: str
    signed_at: float
    data: bytes


def make_record(keys: NodeKeys, key: str, data: bytes, now: float) -> bytes:
    """A record for `key`, signed now. Raises BadRecord when `data` is over 32 KiB."""
    if len(data) > MAX_DATA:
        raise BadRecord(f"A record of {len(data)} bytes is over the bound.")
    body = int(now * 1000).to_bytes(8, "big") + data
    return keys.public + keys.sign(_to_sign(key, body)) + body


def read_record(key: str, value: bytes, now: float) -> Record:
    """The record stored under `key`. Raises BadRecord."""
    if not _HEAD <= len(value) <= _HEAD + MAX_DATA:
        raise BadRecord("A record of the DHT does not have the length of one.")
    public, signature = value[:KEY_BYTES], value[KEY_BYTES : KEY_BYTES + SIGNATURE_BYTES]
    body = value[KEY_BYTES + SIGNATURE_BYTES :]
    if not verify(public, signature, _to_sign(key, body)):
        raise BadRecord("A record of the DHT is not authentic.")
    signed_at = int.from_bytes(body[:8], "big") / 1000
    if not -SKEW_SECONDS <= now - signed_at <= LIFETIME_SECONDS:
        raise BadRecord("A record of the DHT is over its time.")
    return Record(origin=public.hex(), signed_at=signed_at, data=body[8:])


def newest(key: str, values: list[bytes], now: float) -> int:
    """The index of the newest valid record in `values`, 0 when none is valid."""
    best, chosen = float("-inf"), 0
    for index, value in enumerate(values):
        try:
            record = read_record(key, value, now)
        except BadRecord:
            continue
        if record.signed_at > best:
            best, chosen = record.signed_at, index
    return chosen


def _to_sign(key: str, body: bytes) -> bytes:
    name = key.encode()
    return b"".join((_DOMAIN, len(name).to_bytes(2, "big"), name, body))
