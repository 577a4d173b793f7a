"""What the node tells about itself."""

from typing import Final

import msgspec

NETWORK: Final = "network"


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of the node. `subsystems` maps each part's name to whether it works; `warnings` are
    sentences for the user, e.g. that secrets lie in plain files. `peers` are connected, None where the
    network is off."""

    version: str
    node_id: str
    started: float
    uptime_seconds: float
    subsystems: dict[str, bool] = {}
    warnings: tuple[str, ...] = ()
    secrets_backend: str = ""
    peers: int | None = None

    @property
    def ready(self) -> bool:
        """Whether requests are answered, which takes no network."""
        return all(works for name, works in self.subsystems.items() if name != NETWORK)
