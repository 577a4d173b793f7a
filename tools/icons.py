"""Draws the PNG sizes of the app's icon from `resources/icons/swarmllm.svg`.

    python -m tools.icons

Desktops and installers want files; the app itself draws from the SVG.
"""

import os
import sys

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtGui import QGuiApplication

from app.ui.resources import ICONS
from app.ui.theme.icons import mark

SIZES = (16, 24, 32, 48, 64, 128, 256, 512)


def main() -> int:
    application = QGuiApplication(sys.argv[:1])
    folder = ICONS / "png"
    folder.mkdir(exist_ok=True)
    for size in SIZES:
        if not mark(size).save(str(folder / f"swarmllm-{size}.png")):
            print(f"The icon of {size} pixels could not be written to {folder}.", file=sys.stderr)
            return 1
    application.quit()
    return 0


if __name__ == "__main__":
    sys.exit(main())
