"""Reading server-sent events (WHATWG HTML, 9.2): bytes in, each event's data out."""

MAX_EVENT = 16 << 20


class EventTooLarge(ValueError):
    """An event is longer than MAX_EVENT."""


class EventReader:
    """Only what an API stream uses: `data` lines. Comments and other fields are skipped."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, received: bytes) -> list[bytes]:
        """The data of the events that `received` completes. Raises EventTooLarge."""
        *lines, self._rest = (self._rest + received).split(b"\n")
        if len(self._rest) + sum(map(len, self._data)) > MAX_EVENT:
            raise EventTooLarge
        return [data for line in lines if (data := self._line(line.removesuffix(b"\r"))) is not None]

    def _line(self, line: bytes) -> bytes | None:
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif not line and self._data:
            data = b"\n".join(self._data)
            self._data.clear()
            return data
        return None
