"""What the network can be told to do differently, with the defaults of a fresh node."""

import msgspec


class NetworkOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The `[network]` section as the network needs it.

    `listen_port` is the node's port P: TCP listens on P + 10 and QUIC on UDP P (0: any free port). Seconds
    unless a name says otherwise. `dial_peers` is how many connections the node
    seeks by itself. `requests_per_second` (with a burst of twice that) bounds the streams a peer may open.
    """

    listen_address: str = "0.0.0.0"  # noqa: S104  (a node is there to be reached)
    listen_port: int = 8800
    bootstrap_peers: tuple[str, ...] = ()
    gossip_network_id: str | None = None
    enable_mdns: bool = True
    enable_quic: bool = True
    enable_encryption: bool = True
    peer_exchange: bool = True
    offline_mode: bool = False
    max_peers: int = 200
    dial_peers: int = 32
    max_connections: int = 500
    acknowledge_timeout: float = 10.0
    request_timeout: float = 600.0
    dial_timeout: float = 10.0
    heartbeat_interval: float = 1.0
    heartbeat_patience: float = 4.0
    gossip_messages_per_second: int = 1000
    requests_per_second: int = 200
    cache_peers: int = 200
    cache_interval: float = 300.0
    bootstrap_interval: float = 60.0
