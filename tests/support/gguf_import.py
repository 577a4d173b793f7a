"""Child process that imports a model, slowly enough to be killed anywhere.

python -m tests.support.gguf_import SOURCE ROOT
"""

import asyncio
import sys
from pathlib import Path

from tests.support.gguf_library import library_at


async def main(source: str, root: str) -> None:
    print("ready", flush=True)  # noqa: T201
    async with library_at(Path(root)) as library:
        await library.import_file(Path(source))
        for first in range(7):
            await library.window("plain-llama-f16", first, first + 1)
    print("done", flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
