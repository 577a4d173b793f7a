"""A node's network in a process of its own, told what to do over stdin and telling what happens over stdout.

Run as a script with the options as JSON; prints one JSON object a line.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class NodeProcess:
    """The controlling side: start it with `start`, end it with `stop`."""

    def __init__(self, *, prefix: tuple[str, ...] = (), **options: Any) -> None:
        self._prefix = prefix
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self.peer_id = ""
        self.invite = ""

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._prefix,
            sys.executable,
            str(Path(__file__)),
            json.dumps(self._options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        started = await self._read()
        self.peer_id, self.invite = started["peer_id"], started["invite"]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def call(self, name: str, argument: str = "") -> Any:
        """Runs a command in the process and returns what it says."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, argument]).encode() + b"\n")
        return (await self._read())["result"]

    async def sees(self, *others: "NodeProcess", seconds: float) -> None:
        """Returns once it lists exactly `others`."""
        wanted = sorted(other.peer_id for other in others)
        async with asyncio.timeout(seconds):
            while sorted(await self.call("peers")) != wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def _read(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 60)
        assert line, "the node's process ended"
        return json.loads(line)

    async def stop(self) -> None:
        if self._process is None:
            return
        if self._process.returncode is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                await asyncio.wait_for(self._process.wait(), 15)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()


async def _run(options: dict[str, Any]) -> None:
    from app.core.kernel.errors import SwarmError
    from tests.support.network_nodes import Ask, Node, Told

    hosts = options.pop("hosts", ["127.0.0.1"])
    node = Node(hosts=hosts, **options)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with node.network as network:
        _say(peer_id=network.peer_id, invite=network.invite())
        while line := await reader.readline():
            name, argument = json.loads(line)
            try:
                match name:
                    case "peers":
                        result: Any = [peer.peer_id for peer in network.peers()]
                    case "join":
                        result = await network.join(argument)
                    case "ask":
                        result = (await network.request(argument, Ask(text="hello"), Told)).text
                    case _:
                        result = None
            except SwarmError as error:
                result = {"error": error.code}
            _say(result=result)


def _say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    asyncio.run(_run(json.loads(sys.argv[1])))
