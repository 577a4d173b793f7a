"""Writes numbered transactions for ever and prints the number of each one that was acknowledged.

Run as `python -m tests.support.storage_writer DATABASE`, to be killed in the middle.
"""

import asyncio
import sys
from pathlib import Path

from app.core.storage.database import Database

PADDING = "x" * 3000


async def write(path: Path) -> None:
    async with Database(path, on_rebuilt=lambda _: sys.exit("rebuilt")) as database:
        rows = await database.fetch("SELECT value FROM meta WHERE key = 'last'")
        number = int(rows[0][0]) if rows else 0
        while True:
            number += 1
            await database.transaction(
                [
                    ("INSERT INTO meta VALUES (?, ?)", (f"first-{number}", PADDING)),
                    ("INSERT OR REPLACE INTO meta VALUES ('last', ?)", (str(number),)),
                    ("INSERT INTO meta VALUES (?, ?)", (f"second-{number}", PADDING)),
                ]
            )
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1])))
