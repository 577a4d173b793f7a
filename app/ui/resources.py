"""Where the files that ship beside the code are: `resources/`, next to `app/` also when frozen."""

from pathlib import Path

RESOURCES = Path(__file__).resolve().parents[2] / "resources"
ICONS = RESOURCES / "icons"
FONTS = RESOURCES / "fonts"
