"""Machines on a wire: network namespaces joined by a bridge, made and removed by the test."""

import itertools
import os
import shutil
import subprocess
from types import TracebackType

_count = itertools.count()


def can_make_namespaces() -> bool:
    """Whether this is Linux, with iproute2 and the right to use it."""
    if shutil.which("ip") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    name = f"swprobe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        subprocess.run(["ip", "netns", "del", name], check=False)
    return made


class Lan:
    """`size` namespaces with the addresses 10.77.0.1, .2, ... on one wire, while entered."""

    def __init__(self, size: int) -> None:
        tag = f"{os.getpid() % 10000}x{next(_count)}"
        self._hub = f"swhub{tag}"
        self._hosts = [f"swh{tag}n{number}" for number in range(1, size + 1)]

    def __enter__(self) -> "Lan":
        _ip("netns", "add", self._hub)
        self._in(
            self._hub, "link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"
        )
        self._in(self._hub, "link", "set", "br0", "up")
        for number, host in enumerate(self._hosts, 1):
            _ip("netns", "add", host)
            self._in(host, "link", "set", "lo", "up")
            self._in(
                self._hub, "link", "add", f"p{number}", "type", "veth", "peer", "name", "eth0", "netns", host
            )
            self._in(self._hub, "link", "set", f"p{number}", "master", "br0", "up")
            self._in(host, "addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
            self._in(host, "link", "set", "eth0", "up")
            self._in(host, "route", "add", "224.0.0.0/4", "dev", "eth0")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in (*self._hosts, self._hub):
            subprocess.run(["ip", "netns", "del", name], check=False)

    def inside(self, number: int) -> tuple[str, ...]:
        """The prefix of a command that is to run on machine `number`, from 1."""
        return ("ip", "netns", "exec", self._hosts[number - 1])

    def cable(self, number: int, *, plugged: bool) -> None:
        """Pulls or plugs the machine's cable at the switch: it gets no error, just silence."""
        self._in(
            self._hub,
            "link",
            "set",
            f"p{number}",
            "master" if plugged else "nomaster",
            *(["br0"] if plugged else []),
        )

    @staticmethod
    def _in(namespace: str, *command: str) -> None:
        _ip("-n", namespace, *command)


def _ip(*command: str) -> None:
    subprocess.run(["ip", *command], check=True, capture_output=True)
