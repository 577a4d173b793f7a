"""Every option of the node, declared exactly once.

An option appears when the feature that uses it does. `docs/configuration.md` is generated from here.
"""

# ruff: noqa: RUF009 - option() makes dataclass fields, as field() does

from dataclasses import dataclass, field, fields
from pathlib import Path

from app.core.config.options import Option, option, options_of

MIN_API_KEY_LENGTH = 16
MIN_NETWORK_ID_LENGTH = 16


def default_data_dir() -> Path:
    """Where this operating system keeps a user's application data.

    Linux ~/.local/share/swarmllm (XDG_DATA_HOME), macOS ~/Library/Application Support/swarmllm,
    Windows %APPDATA%\\swarmllm.
    """
    from platformdirs import user_data_path  # noqa: PLC0415 - only where settings are loaded

    return user_data_path("swarmllm", appauthor=False, roaming=True)


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """The node itself."""

    listen_port: int = option(
        8800,
        "Port of the local API, on 127.0.0.1. 0 picks any free port.",
        flag="--port",
        minimum=0,
        maximum=65535,
    )
    data_dir: Path = option(
        default_data_dir,
        "Folder of everything the node keeps: models, database, keys, logs. One node at a time may use it.",
        flag="--data-dir",
    )


@dataclass(frozen=True, kw_only=True)
class InferenceSettings:
    """How models are run."""

    default_model: str = option("", 'Model for requests that name none or "auto". Empty: the first one.')
    model_path: Path | None = option(
        None, "GGUF file to serve as the default model; it is added to the library.", flag="--model"
    )
    gpu_layers: int = option(
        0,
        "Layers to put on the GPU, if this build has one. 0: processor only; -1: all that fit.",
        flag="--gpu-layers",
        minimum=-1,
        maximum=9999,
    )
    max_concurrent_requests: int = option(
        10, "Requests that are answered at the same time; others wait in line.", minimum=1, maximum=1024
    )
    context_tokens: int = option(
        4096,
        "Tokens of prompt and answer that one conversation may have; a model's own limit counts too.",
        minimum=128,
        maximum=1 << 20,
    )
    slots: int = option(8, "Sequences that one model decodes side by side.", minimum=1, maximum=64)
    threads: int = option(
        0, "Processor threads of one model. 0: follows the free cores.", minimum=0, maximum=1024
    )
    prefill_chunk_tokens: int = option(
        128, "Prompt tokens processed per step while other answers are running.", minimum=16, maximum=512
    )
    prefix_cache_enabled: bool = option(
        True, "Keep the state of prompts, so that the same beginning is not computed again."
    )
    prefix_cache_mb: int = option(
        512, "Memory for kept prompt states of one model, in MiB.", minimum=1, maximum=1 << 20
    )
    model_idle_seconds: int = option(
        600, "Seconds without a request after which a model is unloaded. 0: never.", minimum=0, maximum=604800
    )


@dataclass(frozen=True, kw_only=True)
class ApiSettings:
    """The local HTTP API."""

    api_key: str = option(
        "",
        "Bearer key of the API. Empty: one is made and kept in the keychain.",
        secret=True,
        min_length=MIN_API_KEY_LENGTH,
    )
    rate_limit_rpm: int = option(
        60, "Requests a minute to /v1/ that one caller may make. 0: no limit.", minimum=0, maximum=1_000_000
    )
    rate_limit_admin_rpm: int = option(
        200,
        "Requests a minute to /api/admin/ that one caller may make. 0: no limit.",
        minimum=0,
        maximum=1_000_000,
    )


@dataclass(frozen=True, kw_only=True)
class ResourceSettings:
    """What the node may use of the machine."""

    max_ram_mb: int = option(
        0, "Memory for loaded models, in MiB. 0: follows the machine.", minimum=0, maximum=1 << 24
    )
    max_disk_mb: int = option(50000, "Disk space for models, in MiB.", minimum=1, maximum=1 << 30)


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """How models are stored."""

    shard_size_mb: int = option(
        512, "Size of the shards a model is cut into, in MiB.", minimum=64, maximum=2048
    )


@dataclass(frozen=True, kw_only=True)
class HubSettings:
    """The Hugging Face hub that models are found on and downloaded from."""

    endpoint: str = option("", "Address of the hub. Empty: HF_ENDPOINT, else https://huggingface.co.")
    max_concurrent_downloads: int = option(
        3, "Downloads that run at the same time; others wait in line.", minimum=1, maximum=16
    )
    connections: int = option(4, "Connections of one download.", minimum=1, maximum=16)
    max_download_mbps: int = option(
        0,
        "Megabits a second that all downloads may take together. 0: no limit.",
        minimum=0,
        maximum=1_000_000,
    )
    watch_trending: bool = option(False, "Ask the hub every hour what is popular, to suggest it.")


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """Meeting other nodes. Nothing of this happens, and no port is opened for it, unless it is enabled."""

    enabled: bool = option(
        False, "Meet other nodes. The command line's `--bootstrap` implies it.", flag="--network"
    )
    listen_address: str = option(
        "0.0.0.0",  # noqa: S104 - a node that is enabled is there to be reached
        "Address of this machine to be reached at. Ports: `node.listen_port` plus 10 (TCP) and "
        "`node.listen_port` (UDP).",
    )
    bootstrap_peers: tuple[str, ...] = option(
        (),
        "Invite codes or addresses (`/ip4/.../tcp/.../p2p/...`) of nodes to meet first; "
        "separated by commas in the environment. The flag can be repeated.",
        flag="--bootstrap",
    )
    gossip_network_id: str = option(
        "",
        "Key of a private network: only nodes with the same one can connect. Choose one that cannot be "
        "guessed. Empty: the public network.",
        secret=True,
        min_length=MIN_NETWORK_ID_LENGTH,
    )
    enable_mdns: bool = option(True, "Find nodes on the local network by mDNS.")
    enable_quic: bool = option(
        True, "Listen for QUIC over UDP as well; a private network uses TCP only, whatever is set here."
    )
    enable_encryption: bool = option(
        True, "Encrypt what two nodes say to each other once more, beyond the connection's own encryption."
    )
    peer_exchange: bool = option(True, "Learn addresses of other nodes from the peers.")
    max_peers: int = option(200, "Peers to be connected with at the same time.", minimum=1, maximum=400)


@dataclass(frozen=True, kw_only=True)
class LoggingSettings:
    """What is logged, and where."""

    level: str = option(
        "info",
        "Least important kind of message that is logged.",
        flag="--verbose",
        choices=("error", "warn", "info", "debug", "trace"),
    )
    format: str = option("pretty", "Lines for people, or one JSON object a line.", choices=("pretty", "json"))
    file: Path | None = option(None, "File that messages go to as well.")


@dataclass(frozen=True, kw_only=True)
class UiSettings:
    """The windows."""

    theme: str = option("dark", "Colours of the windows.", choices=("dark", "light", "system"))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All sections."""

    node: NodeSettings = field(default_factory=NodeSettings)
    inference: InferenceSettings = field(default_factory=InferenceSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    resources: ResourceSettings = field(default_factory=ResourceSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    hub: HubSettings = field(default_factory=HubSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    logging: LoggingSettings = field(default_factory=LoggingSettings)
    ui: UiSettings = field(default_factory=UiSettings)


def section_types() -> dict[str, type]:
    """The declaration of each section by its name, in order."""
    return {section.name: section.default_factory for section in fields(Settings)}  # type: ignore[misc]


def all_options() -> dict[str, Option]:
    """Every declared option by its key, in order."""
    return {
        declared.key: declared
        for name, declaration in section_types().items()
        for declared in options_of(name, declaration)
    }
