"""Several answers as one: for request bodies that hold several prompts, whatever the dialect."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final, cast

import msgspec

from app.core.kernel.generation import Chunk, Started, Usage

WAITING: Final = 64


async def side_by_side(answers: Sequence[AsyncIterator[Chunk]], *, n: int) -> AsyncIterator[Chunk]:
    """The chunks of `answers`, which run at the same time; choice c of answer i becomes choice i * n + c.

    One Started comes first and one Usage, the sum, last. An error of one ends them all.
    """
    queue: asyncio.Queue[tuple[int, Chunk | Exception | None]] = asyncio.Queue(WAITING)
    tasks = [
        asyncio.create_task(_drain(answer, index, queue), name=f"answer prompt {index}")
        for index, answer in enumerate(answers)
    ]
    usages: list[Usage] = []
    started = False
    running = len(tasks)
    try:
        while running:
            index, chunk = await queue.get()
            match chunk:
                case None:
                    running -= 1
                case Exception():
                    raise chunk
                case Usage():
                    usages.append(chunk)
                case Started():
                    if not started:
                        started = True
                        yield chunk
                case _:
                    yield msgspec.structs.replace(chunk, choice=index * n + chunk.choice)
        yield total(usages)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _drain(
    answer: AsyncIterator[Chunk], index: int, queue: asyncio.Queue[tuple[int, Chunk | Exception | None]]
) -> None:
    try:
        async with aclosing(cast(AsyncGenerator[Chunk, None], answer)):
            async for chunk in answer:
                await queue.put((index, chunk))
    except Exception as error:
        await queue.put((index, error))
    else:
        await queue.put((index, None))


def total(parts: Sequence[Usage]) -> Usage:
    """The sum of tokens and of times."""
    return Usage(
        prompt_tokens=sum(part.prompt_tokens for part in parts),
        completion_tokens=sum(part.completion_tokens for part in parts),
        cached_tokens=sum(part.cached_tokens for part in parts),
        prefill_seconds=sum(part.prefill_seconds for part in parts),
        decode_seconds=sum(part.decode_seconds for part in parts),
    )
