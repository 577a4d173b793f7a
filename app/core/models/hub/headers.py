"""Reads the headers of remote GGUF files by range requests."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from app.core.kernel.errors import BadModelFile
from app.core.models.gguf.reader import (
    FIRST_READ,
    MAX_HEADER_BYTES,
    GgufHeader,
    HeaderIncomplete,
    parse_header,
)
from app.core.models.gguf.source import GgufSource, source_of
from app.core.models.hub.answers import HubFile
from app.core.models.hub.client import HubClient
from app.core.models.hub.failures import Patience, Unreliable

_LARGEST_STEP: Final = 32 << 20


class RemoteSource(NamedTuple):
    """A model on a hub: its files, what stands before their data regions, and that parsed."""

    files: tuple[HubFile, ...]
    heads: tuple[bytes, ...]
    source: GgufSource


async def read_remote(client: HubClient, files: Sequence[HubFile], patience: Patience) -> RemoteSource:
    """Fetches and parses the headers of `files`. Raises BadModelFile and what the client raises."""
    heads = [await _head(client, file, patience) for file in files]
    return await asyncio.to_thread(parse_remote, files, heads)


def parse_remote(files: Sequence[HubFile], heads: Sequence[bytes]) -> RemoteSource:
    """The source that `heads`, the beginnings of `files`, describe. Raises BadModelFile."""
    headers = tuple(_parsed(head, file) for head, file in zip(heads, files, strict=True))
    source = source_of(tuple(Path(file.path.rpartition("/")[2]) for file in files), headers)
    cut = tuple(head[: header.data_offset] for head, header in zip(heads, headers, strict=True))
    return RemoteSource(tuple(files), cut, source)


def _parsed(head: bytes, file: HubFile) -> GgufHeader:
    try:
        return parse_header(head, file.size)
    except HeaderIncomplete:
        raise BadModelFile(f"The header of {file.path} is not complete.") from None


async def _head(client: HubClient, file: HubFile, patience: Patience) -> bytes:
    """The beginning of `file`, at least as far as its data region."""
    data = bytearray()
    wanted = min(FIRST_READ, file.size)
    failed = 0
    while len(data) < wanted:
        before = len(data)
        try:
            await _extend(client, file, data, wanted)
            wanted = max(wanted, await asyncio.to_thread(_enough, data, file))
        except Unreliable as error:
            failed = 1 if len(data) > before else failed + 1
            await patience.wait(failed, error)
    return bytes(data)


async def _extend(client: HubClient, file: HubFile, data: bytearray, wanted: int) -> None:
    async with client.open_range(file, len(data), wanted - len(data)) as body:
        while len(data) < wanted:
            part = await body.read(min(1 << 18, wanted - len(data)))
            if not part:
                raise Unreliable(f"The hub ended the file {file.path} early.")
            data += part


def _enough(data: bytearray, file: HubFile) -> int:
    """How many bytes of the file hold its header and what separates it from the data."""
    try:
        return parse_header(data, file.size).data_offset
    except HeaderIncomplete as more:
        grown = max(more.needed, min(2 * len(data), len(data) + _LARGEST_STEP))
        return min(grown, file.size, MAX_HEADER_BYTES)
