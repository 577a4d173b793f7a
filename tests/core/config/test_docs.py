"""docs/configuration.md says what the declarations say."""

import subprocess
import sys
from pathlib import Path

from app.core.config.load import OTHER_ENVIRONMENT

ROOT = Path(__file__).resolve().parents[3]


def test_the_documentation_is_current() -> None:
    command = [sys.executable, str(ROOT / "tools" / "config_docs.py"), "--check"]
    done = subprocess.run(command, check=False, timeout=60)
    assert done.returncode == 0, "run tools/config_docs.py"


def test_variables_that_are_no_options_are_documented_too() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for name in OTHER_ENVIRONMENT:
        assert f"`{name}`" in text
