"""The network as a part of the node: off unless it is chosen, started behind everything else.

It comes late because importing it takes a second and 50 MB, which a node that meets nobody saves.
"""

import asyncio
import logging
from collections.abc import Callable
from importlib import import_module
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from app.core.config.settings import NetworkSettings
from app.core.kernel.errors import Conflict, NetworkError, SwarmError
from app.core.kernel.events import EventBus
from app.core.network.options import NetworkOptions

if TYPE_CHECKING:
    from app.core.network.cache import Database
    from app.core.network.network import Network

log = logging.getLogger(__name__)

START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 15.0
TCP_ABOVE: Final = 10
OFF: Final = (
    "This node meets no others: the network is off. Start the node with --network, or set enabled = true in "
    "the section [network] of its configuration, to turn it on."
)
STARTING: Final = "The network is still starting. Try again in a moment."


def network_options(settings: NetworkSettings, *, port: int) -> NetworkOptions | None:
    """What the network is to do, None where it is off. `port` is the node's, 0 for any free ones."""
    if not settings.enabled:
        return None
    return NetworkOptions(
        listen_address=settings.listen_address,
        listen_port=port,
        bootstrap_peers=settings.bootstrap_peers,
        gossip_network_id=settings.gossip_network_id or None,
        enable_mdns=settings.enable_mdns,
        enable_quic=settings.enable_quic,
        enable_encryption=settings.enable_encryption,
        peer_exchange=settings.peer_exchange,
        max_peers=settings.max_peers,
    )


class Peers:
    """Owns the network: `start()` begins in the background, `stop()` ends and awaits it.

    Without `options` it is off. `seed` is the node key's, 32 bytes. A network that cannot start costs the
    network, not the node: `warn` is told in a sentence. `changed` is told whether the network is up.
    """

    def __init__(
        self,
        *,
        options: NetworkOptions | None,
        seed: bytes,
        database: "Database",
        bus: EventBus,
        software: str,
        changed: Callable[[bool], None],
        warn: Callable[[str], None],
    ) -> None:
        self._options = options
        self._seed = seed
        self._database = database
        self._bus = bus
        self._software = software
        self._changed = changed
        self._warn = warn
        self._network: Network | None = None
        self._problem = ""
        self._settled = asyncio.Event()
        self._leave = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> int | None:
        """How many peers there are now, None where the network is off."""
        if self._options is None:
            return None
        return 0 if self._network is None else len(self._network.peers())

    async def network(self) -> "Network":
        """The network, once it is up. Raises Conflict with a sentence where it is off or could not start."""
        if self._options is None:
            raise Conflict(OFF)
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._settled.wait()
        except TimeoutError:
            raise Conflict(STARTING) from None
        if self._network is None:
            raise Conflict(self._problem or "The network has ended.")
        return self._network

    def start(self) -> None:
        """Returns at once. Where the network is off, nothing happens."""
        if self._options is not None:
            self._changed(False)
            self._task = asyncio.create_task(self._run(self._options), name="network")

    async def stop(self) -> None:
        self._leave.set()
        if self._task is None:
            return
        # A start that is cancelled leaves libp2p's sockets open, so it is let go on.
        await asyncio.wait({self._task}, timeout=STOP_SECONDS)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, options: NetworkOptions) -> None:
        try:
            await self._serve(options)
        except SwarmError as error:
            self._failed(error.message)
        except Exception:
            log.exception("The network failed.")
            self._failed("The log says why.")
        finally:
            self._network = None
            self._settled.set()

    async def _serve(self, options: NetworkOptions) -> None:
        _check(options)
        # In a thread, so that the node answers meanwhile.
        await asyncio.to_thread(import_module, "app.core.network.network")
        if self._leave.is_set():
            return
        async with self._made(options) as network:
            if not any(address.transport == "tcp" for address in network.addresses):
                raise NetworkError(f"{_place(options)} is taken by another program, or not permitted.")
            self._network = network
            self._settled.set()
            self._changed(True)
            log.info("The network is up at %s", ", ".join(map(str, network.addresses)))
            await self._leave.wait()

    def _made(self, options: NetworkOptions) -> "Network":
        from app.core.network.network import Network  # noqa: PLC0415
        from app.core.network.services import Services  # noqa: PLC0415
        from app.core.network.topics import Topics  # noqa: PLC0415

        return Network(
            seed=self._seed,
            options=options,
            services=Services(),
            topics=Topics({}),
            bus=self._bus,
            database=self._database,
            software=self._software,
        )

    def _failed(self, reason: str) -> None:
        self._changed(False)
        self._problem = f"The network does not run. {reason}"
        self._warn(self._problem)


def _check(options: NetworkOptions) -> None:
    try:
        address = ip_address(options.listen_address)
    except ValueError:
        raise NetworkError("network.listen_address has to be an IP address of this machine.") from None
    if address.version == 6 and address.is_unspecified:
        raise NetworkError("network.listen_address cannot be ::, only one IPv6 address of this machine.")
    if options.listen_port + TCP_ABOVE > 0xFFFF:
        raise NetworkError(f"It needs the port {TCP_ABOVE} above the API's: choose a lower one with --port.")


def _place(options: NetworkOptions) -> str:
    port = options.listen_port + TCP_ABOVE if options.listen_port else "any"
    return f"The TCP port {port} of {options.listen_address}"
