"""What the node tells about itself."""

import msgspec


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of the node. `subsystems` maps each part's name to whether it works; `warnings` are
    sentences for the user, e.g. that secrets lie in plain files."""

    version: str
    node_id: str
    started: float
    uptime_seconds: float
    subsystems: dict[str, bool] = {}
    warnings: tuple[str, ...] = ()
    secrets_backend: str = ""

    @property
    def ready(self) -> bool:
        return all(self.subsystems.values())
