"""Which shards of a model a node should hold when several nodes divide it among themselves. Pure."""

from collections.abc import Sequence

from blake3 import blake3

from app.core.models.manifest import ShardRecord


def fair_share(shards: Sequence[ShardRecord], *, node_id: str, model_id: str, nodes: int) -> frozenset[int]:
    """Indexes of the shards for the node `node_id` if `nodes` nodes hold the model together.

    Every node takes one run of neighbouring layer shards, ceil(count / nodes) long, which begins at
    BLAKE3(node_id || model_id) modulo their count and goes on at the first behind the last: so each node
    finds its share alone, and shares spread evenly. Metadata and globals are small and everybody's; the
    embedding goes with the first layers, the head with the last.
    """
    layers = [shard.index for shard in shards if shard.kind == "layers"]
    taken = {shard.index for shard in shards if shard.kind in {"metadata", "globals"}}
    if not layers:
        return frozenset(shard.index for shard in shards)
    count = -(-len(layers) // max(1, nodes))
    digest = blake3(node_id.encode() + model_id.encode()).digest()
    start = int.from_bytes(digest[:8], "big") % len(layers)
    mine = {layers[(start + step) % len(layers)] for step in range(count)}
    for kind, neighbour in (("embedding", layers[0]), ("head", layers[-1])):
        if neighbour in mine:
            taken |= {shard.index for shard in shards if shard.kind == kind}
    return frozenset(taken | mine)
