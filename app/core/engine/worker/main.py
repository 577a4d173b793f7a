"""Entry of the worker process: finds its socket and serves until the node is done with it.

stdout is never written to; Python's and llama.cpp's log lines go to stderr.
"""

import argparse
import logging
import os
import socket
import sys
from collections.abc import Sequence

from app.core.engine.worker.link import Link


def main(argv: Sequence[str]) -> int:
    """`--fd N` names an inherited socket (POSIX); `--share` reads the bytes of socket.share() from stdin
    (Windows)."""
    parser = argparse.ArgumentParser(prog="worker")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--fd", type=int)
    way.add_argument("--share", action="store_true")
    options = parser.parse_args(argv)
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    if options.share:
        return run(socket.fromshare(sys.stdin.buffer.read()))  # type: ignore[attr-defined,unused-ignore]
    return run(socket.socket(fileno=options.fd))


def run(sock: socket.socket) -> int:
    """Serves the node at the other end of `sock`; comes back only where loading failed."""
    if sys.stdout is not None and sys.stderr is not None:  # a windowed build has neither
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    link = Link(sock, on_end=lambda: os._exit(0))
    link.start()
    # imported late: a worker whose node has gone must end even while llama.cpp's libraries load
    from app.core.engine.worker.llama.lib import L  # noqa: PLC0415
    from app.core.engine.worker.llama.log import LogRoute  # noqa: PLC0415
    from app.core.engine.worker.server import Server  # noqa: PLC0415

    logs = LogRoute()
    logs.install()
    L.llama_backend_init()
    return Server(link=link, logs=logs).run()
