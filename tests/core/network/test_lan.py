"""Nodes in processes of their own: on one machine, and on a wire of network namespaces."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator

import pytest

from tests.support.network_namespaces import Lan, can_make_namespaces
from tests.support.network_process import NodeProcess

pytestmark = pytest.mark.slow
needs_namespaces = pytest.mark.skipif(
    not can_make_namespaces(), reason="needs the right to make network namespaces"
)


class Machines:
    def __init__(self) -> None:
        self.running: list[NodeProcess] = []

    async def start(self, **options: object) -> NodeProcess:
        node = NodeProcess(**options)  # type: ignore[arg-type]
        self.running.append(node)
        await node.start()
        return node


@pytest.fixture
async def machines() -> AsyncIterator[Machines]:
    started = Machines()
    yield started
    await asyncio.gather(*(node.stop() for node in started.running))


def at(lan: Lan, number: int) -> dict[str, object]:
    host = f"10.77.0.{number}"
    return {"prefix": lan.inside(number), "listen_address": host, "hosts": [host], "enable_mdns": True}


@needs_namespaces
async def test_nodes_on_one_wire_find_each_other_by_mdns_alone(machines: Machines) -> None:
    with Lan(3) as lan:
        a, b, c = [await machines.start(**at(lan, number)) for number in (1, 2, 3)]
        await a.sees(b, c, seconds=20)
        await c.sees(a, b, seconds=20)
        assert "hello" in await c.call("ask", a.peer_id)
        await asyncio.gather(*(node.stop() for node in (a, b, c)))


@needs_namespaces
async def test_two_private_networks_on_one_wire_never_mix(machines: Machines) -> None:
    with Lan(4) as lan:
        family = [await machines.start(**at(lan, n), gossip_network_id="family") for n in (1, 2)]
        firm = [await machines.start(**at(lan, n), gossip_network_id="firm") for n in (3, 4)]
        await family[0].sees(family[1], seconds=20)
        await firm[0].sees(firm[1], seconds=20)
        assert await firm[0].call("join", family[0].invite) == {"error": "network_error"}
        await asyncio.sleep(2)
        await family[0].sees(family[1], seconds=1)
        await firm[1].sees(firm[0], seconds=1)
        await asyncio.gather(*(node.stop() for node in (*family, *firm)))


@needs_namespaces
async def test_a_cut_cable_is_noticed_and_healed_without_a_restart(machines: Machines) -> None:
    with Lan(2) as lan:
        a, b = [await machines.start(**at(lan, number)) for number in (1, 2)]
        await a.sees(b, seconds=20)
        lan.cable(2, plugged=False)
        began = time.monotonic()
        await a.sees(seconds=30)
        await b.sees(seconds=30)
        assert time.monotonic() - began < 15
        lan.cable(2, plugged=True)
        await a.sees(b, seconds=40)
        assert "hello" in await b.call("ask", a.peer_id)
        await asyncio.gather(a.stop(), b.stop())


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP")
async def test_a_frozen_process_is_noticed_and_taken_back(machines: Machines) -> None:
    a, b = await machines.start(), await machines.start()
    await b.call("join", a.invite)
    await a.sees(b, seconds=10)
    os.kill(b.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        await a.sees(seconds=30)
        assert time.monotonic() - began < 15
    finally:
        os.kill(b.pid, signal.SIGCONT)
    await a.sees(b, seconds=30)


async def test_a_killed_process_is_noticed_at_once(machines: Machines) -> None:
    a, b = await machines.start(), await machines.start()
    await b.call("join", a.invite)
    await a.sees(b, seconds=10)
    os.kill(b.pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
    await a.sees(seconds=5)
