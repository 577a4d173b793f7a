"""Questions that the built-in guide answers well, shipped with it in `resources/`."""

import json
import logging
from pathlib import Path

from app.ui.resources import RESOURCES

log = logging.getLogger(__name__)

FILE = RESOURCES / "guide_suggestions.json"
SHOWN = 4


def load_suggestions(path: Path = FILE) -> tuple[str, ...]:
    """The questions in `path`: a JSON array of strings. Empty when the file is missing or wrong."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        log.warning("The suggested questions in %s cannot be read: %s", path.name, error)
        return ()
    if not isinstance(content, list):
        log.warning("The suggested questions in %s are not a JSON array of strings.", path.name)
        return ()
    return tuple(entry for entry in content if isinstance(entry, str) and entry.strip())
