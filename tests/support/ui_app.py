"""The windowed app as its own process, over a scripted node, for tests that need a real display.

    python -m tests.support.ui_app CHATS_FOLDER SCRIPT_JSON

Prints what happens, one line each, so that the test can follow: `window shown`, `tray X Y W H`, `asked TEXT`.
"""

import json
import sys
from pathlib import Path

from app.ui.application import run_app
from tests.support.ui_server import ApiScript, scripted_node


def main() -> int:
    script = ApiScript(**json.loads(sys.argv[2]))
    return run_app(lambda: scripted_node(script), theme="dark", chats=Path(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
