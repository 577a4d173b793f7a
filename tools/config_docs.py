"""Writes docs/configuration.md from the declarations of the options.

`python tools/config_docs.py` writes the file; `--check` only says whether it is current.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from app.core.config.options import Option, options_of  # noqa: E402
from app.core.config.settings import section_types  # noqa: E402

TARGET = ROOT / "docs" / "configuration.md"

HEAD = """# Configuration

<!-- Written by tools/config_docs.py from app/core/config/settings.py; change it there. -->

Nothing has to be configured. Where a value is given more than once, the first of these counts:

1. the command line, e.g. `--port 9000`
2. the environment: `SWARMLLM_<SECTION>_<OPTION>`, e.g. `SWARMLLM_NODE_LISTEN_PORT=9000`; an empty
   variable counts as not given
3. `config.toml` in the data directory, or the file that `--config` names
4. the default

`swarmllm config` prints every option with its effective value and where it came from. A wrong value, an
unknown option and an unknown `SWARMLLM_` variable end the program with one line that says what is wrong,
and exit code 2. Relative paths start at the current folder, those of a configuration file at its own
folder.

The data directory is `~/.local/share/swarmllm` on Linux (`$XDG_DATA_HOME/swarmllm` where that is set),
`~/Library/Application Support/swarmllm` on macOS and `%APPDATA%\\swarmllm` on Windows.

```toml
# config.toml
[node]
listen_port = 9000

[logging]
level = "debug"
```
"""

TAIL = """
## The vault's passphrase

Keys are kept in the keychain of the operating system. Where there is none, and a passphrase is given,
they are kept in an encrypted vault in the data directory; without a passphrase, in files that only the
user can read, and the node warns of it. The passphrase is no option. The first of these that is there
counts:

1. `SWARMLLM_VAULT_PASSPHRASE`
2. the file that `SWARMLLM_VAULT_PASSPHRASE_FILE` names
3. the systemd credential `swarmllm_vault_passphrase` (`LoadCredential=swarmllm_vault_passphrase:...`)
4. the Docker secret `/run/secrets/swarmllm_vault_passphrase`

A data directory stays with the keychain or the vault that it began with: a node that cannot reach its
keys says so and does not make new ones. Keys in plain files move to the keychain or the vault as soon as
there is one.
"""


def document() -> str:
    """The whole text of docs/configuration.md."""
    return HEAD + "".join(map(_section, section_types())) + TAIL


def _section(name: str) -> str:
    declaration = section_types()[name]
    rows = "".join(map(_row, options_of(name, declaration)))
    return (
        f"\n## [{name}]\n\n{declaration.__doc__}\n\n"
        f"| Option | Default | Must be | Meaning |\n|---|---|---|---|\n{rows}"
    )


def _row(option: Option) -> str:
    also = f" Flag: `{option.flag}`." if option.flag else ""
    return f"| `{option.name}` | {_default(option)} | {option.bounds()} | {option.description}{also} |\n"


def _default(option: Option) -> str:
    if option.key == "node.data_dir":
        return "see above"
    if option.default in (None, "", ()):
        return "empty" if option.default == "" else "none"
    shown = str(option.default).lower() if isinstance(option.default, bool) else str(option.default)
    return f"`{shown}`"


def main(arguments: list[str]) -> int:
    """Returns the exit code: 1 if --check finds the file outdated."""
    text = document()
    if "--check" in arguments:
        current = TARGET.exists() and TARGET.read_text(encoding="utf-8") == text
        return 0 if current else 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
