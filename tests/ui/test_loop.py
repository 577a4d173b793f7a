"""The Qt event loop keeps asyncio's promises."""

import asyncio
import contextvars
import gc
import socket
import sys
import threading
import weakref

import aiohttp
import pytest
from aiohttp import web
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from app.ui.loop import QtEventLoop


def test_a_sleep_is_never_shorter_than_asked(loop: QtEventLoop) -> None:
    async def measure() -> list[float]:
        early = []
        for delay in (0.001, 0.0105, 0.05, 0.1337):
            start = loop.time()
            await asyncio.sleep(delay)
            early.append(delay - (loop.time() - start))
        return early

    assert max(loop.run_until_complete(measure())) <= 0


def test_timers_run_in_the_order_of_their_deadlines(loop: QtEventLoop) -> None:
    async def collect() -> list[int]:
        order: list[int] = []
        done = asyncio.Event()
        base = loop.time() + 0.02
        for number in (3, 1, 2, 0):
            loop.call_at(base + number * 0.005, order.append, number)
        loop.call_at(base + 0.03, done.set)
        await done.wait()
        return order

    assert loop.run_until_complete(collect()) == [0, 1, 2, 3]


def test_a_cancelled_timer_is_freed_long_before_it_is_due(loop: QtEventLoop) -> None:
    class Payload:
        pass

    async def cancel_many() -> weakref.ref[Payload]:
        payload = Payload()
        for _ in range(1000):
            loop.call_later(3600, id, payload).cancel()
        return weakref.ref(payload)

    reference = loop.run_until_complete(cancel_many())
    gc.collect()
    assert reference() is None
    assert loop.timers <= 1


def test_cancelled_timers_between_live_ones_do_not_pile_up(loop: QtEventLoop) -> None:
    async def run() -> int:
        keep = [loop.call_later(60, id, 0)]
        for _ in range(2000):
            loop.call_later(3600, id, 0).cancel()
        held = loop.timers
        keep[0].cancel()
        return held

    assert loop.run_until_complete(run()) < 200


def test_a_call_from_another_thread_runs_with_its_context(loop: QtEventLoop) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def run() -> tuple[str, bool]:
        result: asyncio.Future[tuple[str, bool]] = loop.create_future()
        main = threading.get_ident()

        def answer() -> None:
            result.set_result((variable.get(), threading.get_ident() == main))

        context = contextvars.copy_context()
        context.run(variable.set, "carried")
        thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(answer, context=context))
        thread.start()
        try:
            return await result
        finally:
            thread.join()

    assert loop.run_until_complete(run()) == ("carried", True)


def test_thousands_of_calls_from_threads_all_arrive(loop: QtEventLoop) -> None:
    async def run() -> int:
        count = 0
        done = asyncio.Event()

        def arrived() -> None:
            nonlocal count
            count += 1
            if count == 8000:
                done.set()

        def send() -> None:
            for _ in range(2000):
                loop.call_soon_threadsafe(arrived)

        await asyncio.gather(*(asyncio.to_thread(send) for _ in range(4)))
        await done.wait()
        return count

    assert loop.run_until_complete(run()) == 8000


def test_qt_timers_and_coroutines_share_the_loop(loop: QtEventLoop) -> None:
    async def run() -> None:
        fired = asyncio.Event()
        QTimer.singleShot(5, fired.set)
        await asyncio.wait_for(fired.wait(), 5)

    loop.run_until_complete(run())


def test_sockets_echo_both_ways(loop: QtEventLoop) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def run() -> int:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            payload = bytes(range(256)) * 4096
            writer.write(payload)
            writer.write_eof()
            echoed = await reader.read(-1)
            writer.close()
            await writer.wait_closed()
            assert echoed == payload
            return len(echoed)

    assert loop.run_until_complete(run()) == 1 << 20


def test_a_socket_pair_wakes_a_reader(loop: QtEventLoop) -> None:
    async def run() -> bytes:
        left, right = socket.socketpair()
        left.setblocking(False)
        right.setblocking(False)
        with left, right:
            waiting = asyncio.create_task(loop.sock_recv(left, 16))
            await asyncio.sleep(0)
            await loop.sock_sendall(right, b"ping")
            return await waiting

    assert loop.run_until_complete(run()) == b"ping"


def test_a_subprocess_is_run_and_awaited(loop: QtEventLoop) -> None:
    async def run() -> tuple[bytes, int | None]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print(6 * 7)", stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        return output.strip(), process.returncode

    assert loop.run_until_complete(run()) == (b"42", 0)


def test_aiohttp_serves_and_asks_on_it(loop: QtEventLoop) -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(50):
            await response.write(f"{number}\n".encode())
            await asyncio.sleep(0)
        return response

    async def run() -> list[bytes]:
        server = web.Application()
        server.router.add_get("/", stream)
        runner = web.AppRunner(server)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            async with aiohttp.ClientSession() as session:
                answers = await asyncio.gather(*(fetch(session, site.name) for _ in range(8)))
        finally:
            await runner.cleanup()
        return answers

    async def fetch(session: aiohttp.ClientSession, url: str) -> bytes:
        async with session.get(url) as response:
            return await response.read()

    expected = b"".join(b"%d\n" % number for number in range(50))
    assert loop.run_until_complete(run()) == [expected] * 8


def test_an_exit_from_a_callback_ends_the_loop_and_is_raised(loop: QtEventLoop) -> None:
    def leave() -> None:
        raise SystemExit(7)

    async def run() -> None:
        loop.call_soon(leave)
        await asyncio.sleep(3600)

    task = loop.create_task(run())
    with pytest.raises(SystemExit, match="7"):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)


def test_a_closed_loop_refuses_work_and_leaves_no_threads(application: QApplication) -> None:
    with asyncio.Runner(loop_factory=lambda: QtEventLoop(application)) as runner:
        assert runner.run(asyncio.to_thread(lambda: 5)) == 5
        closed = runner.get_loop()
        sleeper = closed.create_task(asyncio.sleep(3600))
    assert sleeper.cancelled()
    assert closed.is_closed()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("qt-loop")]
    with pytest.raises(RuntimeError, match="closed"):
        closed.call_soon(print)
