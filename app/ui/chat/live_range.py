"""Which turns of a long chat have widgets: a window of bounded size over the list of turns."""

from dataclasses import dataclass

MAX_LIVE = 200
FIRST_PAGE = 24
PAGE = 16


@dataclass(frozen=True)
class LiveRange:
    """Turns `first` to `last` (exclusive) of `total` have widgets."""

    first: int
    last: int
    total: int

    @property
    def has_older(self) -> bool:
        return self.first > 0

    @property
    def has_newer(self) -> bool:
        return self.last < self.total

    @classmethod
    def newest(cls, total: int) -> "LiveRange":
        return cls(max(0, total - FIRST_PAGE), total, total)

    def older(self) -> "LiveRange":
        """One page further up; what is then too much goes at the lower end."""
        first = max(0, self.first - PAGE)
        return LiveRange(first, min(self.last, first + MAX_LIVE), self.total)

    def newer(self) -> "LiveRange":
        last = min(self.total, self.last + PAGE)
        return LiveRange(max(self.first, last - MAX_LIVE), last, self.total)

    def appended(self) -> "LiveRange":
        """A turn was added at the end; it becomes live only if the end was."""
        if self.has_newer:
            return LiveRange(self.first, self.last, self.total + 1)
        return LiveRange(max(self.first, self.last + 1 - MAX_LIVE), self.last + 1, self.total + 1)

    def truncated(self, total: int) -> "LiveRange":
        if total <= self.first:
            return LiveRange.newest(total)
        return LiveRange(self.first, min(self.last, total), total)
