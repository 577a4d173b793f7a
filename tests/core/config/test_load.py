"""Settings: order of sources, provenance, and one-line errors."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.config.load import LoadedSettings, load_settings
from app.core.config.options import WrongValue
from app.core.config.settings import all_options, default_data_dir
from app.core.kernel.errors import ConfigError


def load(
    *, flags: dict[str, str] | None = None, environ: dict[str, str] | None = None, file: Path | None = None
) -> LoadedSettings:
    return load_settings(flags=flags or {}, environ=environ or {}, config_path=file)


def written(folder: Path, text: str) -> Path:
    file = folder / "config.toml"
    file.write_text(text, encoding="utf-8")
    return file


def wrong(**sources: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(**sources)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults_hold_where_nothing_is_given(tmp_path: Path) -> None:
    loaded = load(flags={"node.data_dir": str(tmp_path)})
    assert loaded.settings.node.listen_port == 8800
    assert loaded.settings.model.shard_size_mb == 512
    assert loaded.settings.api.rate_limit_rpm == 60
    assert loaded.sources["node.listen_port"] == "default"
    assert loaded.config_file is None


def test_each_source_wins_over_the_ones_below_it(tmp_path: Path) -> None:
    written(tmp_path, "[node]\nlisten_port = 1001\n[model]\nshard_size_mb = 64\n[ui]\ntheme = 'light'\n")
    loaded = load(
        flags={"node.data_dir": str(tmp_path), "node.listen_port": "1003"},
        environ={"SWARMLLM_NODE_LISTEN_PORT": "1002", "SWARMLLM_MODEL_SHARD_SIZE_MB": "128"},
    )
    assert loaded.settings.node.listen_port == 1003
    assert loaded.settings.model.shard_size_mb == 128
    assert loaded.settings.ui.theme == "light"
    assert loaded.sources["node.listen_port"] == "command line --port"
    assert loaded.sources["model.shard_size_mb"] == "environment SWARMLLM_MODEL_SHARD_SIZE_MB"
    assert loaded.sources["ui.theme"] == "config.toml"
    assert loaded.config_file == tmp_path / "config.toml"


def test_config_file_is_found_in_the_data_directory_of_the_environment(tmp_path: Path) -> None:
    written(tmp_path, "[logging]\nlevel = 'debug'\n")
    assert load(environ={"SWARMLLM_NODE_DATA_DIR": str(tmp_path)}).settings.logging.level == "debug"


def test_relative_paths_of_a_config_file_start_at_its_folder(tmp_path: Path) -> None:
    file = written(tmp_path, "[node]\ndata_dir = 'data'\n[logging]\nfile = 'node.log'\n")
    settings = load(file=file).settings
    assert settings.node.data_dir == tmp_path / "data"
    assert settings.logging.file == tmp_path / "node.log"


def test_a_wrong_value_names_source_key_and_bound(tmp_path: Path) -> None:
    assert wrong(environ={"SWARMLLM_NODE_LISTEN_PORT": "abc"}) == (
        "environment SWARMLLM_NODE_LISTEN_PORT: node.listen_port must be between 0 and 65535, not 'abc'"
    )
    assert wrong(flags={"node.listen_port": "65536"}) == (
        "command line --port: node.listen_port must be between 0 and 65535, not '65536'"
    )
    file = written(tmp_path, "[model]\nshard_size_mb = 63\n")
    assert wrong(file=file) == f"{file}: model.shard_size_mb must be between 64 and 2048, not 63"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[node]\nlisten_port = '8800'", "node.listen_port must be between 0 and 65535, not '8800'"),
        ("[node]\nlisten_port = true", "node.listen_port must be between 0 and 65535, not True"),
        ("[node]\nlisten_port = 1.5", "node.listen_port must be between 0 and 65535, not 1.5"),
        ("[node]\nlisten_port = [1]", "node.listen_port must be between 0 and 65535, not [1]"),
        ("[node]\ndata_dir = ''", "node.data_dir must be a path, not ''"),
        ('[node]\ndata_dir = "a\\u0000b"', "node.data_dir must be a path, not 'a\\x00b'"),
        (
            "[inference]\nprefix_cache_enabled = 1",
            "inference.prefix_cache_enabled must be true or false, not 1",
        ),
        (
            "[logging]\nlevel = 'loud'",
            "logging.level must be one of error, warn, info, debug, trace, not 'loud'",
        ),
        ("[nod]\nx = 1", "there is no section nod; did you mean node?"),
        ("[nope]\nx = 1", "there is no section nope"),
        ("[node]\nlisten_prt = 1", "there is no option node.listen_prt; did you mean node.listen_port?"),
        ("node = 3", "node must be a section, written [node]."),
        ("[node\n", "is not valid TOML"),
        ("a = " + "[" * 5000, "is nested too deeply."),
    ],
)
def test_wrong_config_files_are_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    file = written(tmp_path, text)
    said = wrong(file=file)
    assert said.startswith(f"{file}: ")
    assert message in said


def test_unreadable_config_files_are_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    assert wrong(file=file) == f"{file}: cannot be read: No such file or directory."
    file.write_bytes(b"\xff\xfe\x00")
    assert wrong(file=file) == f"{file}: is not UTF-8 text."
    file.write_bytes(b"#" * ((1 << 20) + 1))
    assert "must be at most" in wrong(file=file)


def test_unknown_environment_variables_are_named_with_the_nearest_known() -> None:
    assert wrong(environ={"SWARMLLM_NODE_LISTENPORT": "1"}) == (
        "environment SWARMLLM_NODE_LISTENPORT: there is no such option; "
        "did you mean SWARMLLM_NODE_LISTEN_PORT?"
    )
    load(environ={"SWARMLLM_VAULT_PASSPHRASE": "x", "SWARMLLM_VAULT_PASSPHRASE_FILE": "y", "PATH": "/bin"})


def test_an_empty_environment_variable_counts_as_unset() -> None:
    loaded = load(environ={"SWARMLLM_NODE_LISTEN_PORT": ""})
    assert loaded.sources["node.listen_port"] == "default"


@pytest.mark.parametrize(("text", "value"), [("TRUE", True), ("0", False), ("on", True), ("no", False)])
def test_switches_read_the_usual_words(text: str, value: bool) -> None:
    loaded = load(environ={"SWARMLLM_INFERENCE_PREFIX_CACHE_ENABLED": text})
    assert loaded.settings.inference.prefix_cache_enabled is value


def test_lists_are_arrays_in_a_file_and_separated_by_commas_elsewhere(tmp_path: Path) -> None:
    file = written(tmp_path, "[network]\nbootstrap_peers = ['/ip4/10.0.0.1', 'swarm://abc']\n")
    assert load(file=file).settings.network.bootstrap_peers == ("/ip4/10.0.0.1", "swarm://abc")
    loaded = load(environ={"SWARMLLM_NETWORK_BOOTSTRAP_PEERS": " one, two,,"}, file=file)
    assert loaded.settings.network.bootstrap_peers == ("one", "two")
    rows = {row.key: row.value for row in loaded.rows()}
    assert rows["network.bootstrap_peers"] == "one,two"


@pytest.mark.parametrize("value", ["'text'", "[1]", "['']", "[['a']]", str(["a"] * 65)])
def test_a_wrong_list_is_one_clear_line(tmp_path: Path, value: str) -> None:
    said = wrong(file=written(tmp_path, f"[network]\nbootstrap_peers = {value}\n"))
    assert "network.bootstrap_peers must be a list of at most 64 texts, not " in said


def test_sharing_is_off_and_the_networks_key_is_a_secret() -> None:
    assert load().settings.network.enabled is False
    loaded = load(environ={"SWARMLLM_NETWORK_GOSSIP_NETWORK_ID": "a-long-network-key"})
    assert {row.key: row.value for row in loaded.rows()}["network.gossip_network_id"] == "set"


def test_a_secret_is_never_shown_neither_in_rows_nor_in_errors() -> None:
    key = "0123456789abcdef-secret"
    loaded = load(environ={"SWARMLLM_API_API_KEY": key})
    rows = {row.key: row for row in loaded.rows()}
    assert rows["api.api_key"].value == "set"
    assert key not in repr(loaded.rows())
    message = wrong(environ={"SWARMLLM_API_API_KEY": "short-secret"})
    assert "short-secret" not in message
    assert "at least 16 printable characters" in message


def test_rows_give_every_option_with_its_source(tmp_path: Path) -> None:
    loaded = load(flags={"node.listen_port": "0", "node.data_dir": str(tmp_path)})
    rows = {row.key: row for row in loaded.rows()}
    assert list(rows) == list(all_options())
    assert (rows["node.listen_port"].value, rows["node.listen_port"].source) == ("0", "command line --port")
    assert rows["inference.prefix_cache_enabled"].value == "true"
    assert rows["logging.file"].value == ""


def test_the_default_data_directory_is_the_users_own() -> None:
    assert default_data_dir().is_absolute()
    assert default_data_dir().name == "swarmllm"


def test_every_default_keeps_its_own_bounds(tmp_path: Path) -> None:
    for option in all_options().values():
        if option.default is None:
            assert option.optional
        elif not isinstance(option.default, Path):
            assert option.from_toml(option.default, tmp_path) == option.default
        assert option.description.endswith(".")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30), st.sampled_from(sorted(all_options())))
def test_any_text_gives_a_value_in_bounds_or_one_line(text: str, key: str) -> None:
    option, base = all_options()[key], Path("/base")
    refusal = "must be "
    try:
        value = option.from_text(text, base)
        assert isinstance(value, Path) or value is None or option.from_toml(value, base) == value
    except WrongValue as error:
        refusal = str(error)
    assert refusal.startswith("must be ")
    assert "\n" not in refusal


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet="[]=.\"'abnode_listport0123456789\n#{},-", max_size=60))
def test_any_config_file_is_read_or_refused_in_one_line(content: bytes | str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.toml"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        said = ""
        try:
            load(file=file)
        except ConfigError as error:
            said = str(error)
    assert "\n" not in said
