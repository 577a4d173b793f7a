"""Guard for what this package knows of libp2p's insides.

`swarm.py`, `yamux.py` and `noise.py` replace parts of one version of libp2p, and rely on how that version
calls them. Another version is refused at start rather than found out in operation.
"""

import logging
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from app.core.kernel.errors import Unsupported

LIBP2P: Final = "0.8.1"


def check_pinned() -> None:
    """Raises Unsupported unless the libp2p that is installed is the one this package was made for.

    Its log is turned down at the same time: it reports as errors, with tracebacks, what any stranger that
    hangs up can cause, and this package reports what matters of it.
    """
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)
    try:
        found = version("libp2p")
    except PackageNotFoundError:
        raise Unsupported(f"The network needs the package libp2p {LIBP2P}, which is not installed.") from None
    if found != LIBP2P:
        raise Unsupported(f"The network needs the package libp2p {LIBP2P}, but {found} is installed.")
