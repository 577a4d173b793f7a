"""The anti-replay window of RFC 6479: a ring of 64-bit blocks over the last counters that were accepted.

`fresh` only looks; `accept` records, and is called after the message has proven authentic. So forged
counters can neither move the window nor use up a number.
"""

from typing import Final

BLOCK: Final = 64
BLOCKS: Final = 128
WINDOW: Final = (BLOCKS - 1) * BLOCK


class ReplayWindow:
    """Remembers which of the last `WINDOW` (8128) counters were seen; anything older counts as seen."""

    def __init__(self) -> None:
        self._ring = [0] * BLOCKS
        self._highest = -1

    def fresh(self, counter: int) -> bool:
        """Whether `counter` was not accepted yet and is not too old to tell."""
        if counter < 0 or counter + WINDOW <= self._highest:
            return False
        if counter > self._highest:
            return True
        return not self._ring[counter // BLOCK % BLOCKS] >> counter % BLOCK & 1

    def accept(self, counter: int) -> None:
        """Marks `counter` as seen, moving the window when it is the highest so far."""
        if counter > self._highest:
            old, new = self._highest // BLOCK, counter // BLOCK
            for block in range(old + 1, min(new, old + BLOCKS) + 1):
                self._ring[block % BLOCKS] = 0
            if new - old > BLOCKS:
                self._ring = [0] * BLOCKS
            self._highest = counter
        self._ring[counter // BLOCK % BLOCKS] |= 1 << counter % BLOCK
