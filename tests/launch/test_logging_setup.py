"""Log lines: readable, one record a line, machine-readable on request, and without tokens."""

import io
import json
import logging
from pathlib import Path

import pytest

from app.core.config.settings import LoggingSettings
from app.core.kernel.errors import ConfigError
from app.launch.logging_setup import logging_to

log = logging.getLogger("app.test")


def logged(settings: LoggingSettings, *messages: tuple[int, str]) -> str:
    stream = io.StringIO()
    with logging_to(settings, stream=stream):
        for level, message in messages:
            log.log(level, message)
    return stream.getvalue()


def test_a_line_for_people_names_level_and_part() -> None:
    line = logged(LoggingSettings(), (logging.WARNING, "Look out."))
    assert line.split(" ", 1)[1] == "warn  app.test: Look out.\n"


def test_json_lines_are_objects_in_utc() -> None:
    line = logged(LoggingSettings(format="json"), (logging.INFO, "Grüße"))
    record = json.loads(line)
    assert record["time"].endswith("Z")
    assert (record["level"], record["logger"], record["message"]) == ("info", "app.test", "Grüße")


@pytest.mark.parametrize(
    ("level", "count"), [("error", 1), ("warn", 2), ("info", 3), ("debug", 4), ("trace", 5)]
)
@pytest.mark.logs_errors
def test_the_level_says_what_is_logged(level: str, count: int) -> None:
    levels = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG, 5)
    said = logged(LoggingSettings(level=level), *((number, "x") for number in levels))
    assert len(said.splitlines()) == count


def test_libraries_are_quiet_below_trace() -> None:
    stream = io.StringIO()
    with logging_to(LoggingSettings(level="debug"), stream=stream):
        logging.getLogger("asyncio").debug("noise")
        logging.getLogger("keyring.backend").info("noise")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("form", ["pretty", "json"])
def test_bearer_tokens_are_blanked_and_lines_cannot_be_forged(form: str) -> None:
    said = logged(
        LoggingSettings(format=form), (logging.INFO, "Authorization: Bearer 0123456789abcdef\nforged")
    )
    assert "0123456789abcdef" not in said
    assert len(said.splitlines()) == 1


@pytest.mark.logs_errors
def test_a_bug_keeps_its_traceback() -> None:
    stream = io.StringIO()
    with logging_to(LoggingSettings(format="json"), stream=stream):
        try:
            raise RuntimeError("bug")
        except RuntimeError:
            log.exception("It failed.")
    assert "RuntimeError: bug" in json.loads(stream.getvalue())["error"]


def test_a_file_gets_the_same_lines(tmp_path: Path) -> None:
    file = tmp_path / "node.log"
    said = logged(LoggingSettings(file=file), (logging.INFO, "Kept."))
    assert file.read_text() == said


def test_a_file_that_cannot_be_opened_is_a_clear_error(tmp_path: Path) -> None:
    settings = LoggingSettings(file=tmp_path / "none" / "node.log")
    with pytest.raises(ConfigError, match=r"logging.file: .* cannot be opened for writing: No such file"):
        logged(settings)


def test_nothing_stays_behind() -> None:
    before = list(logging.getLogger().handlers)
    logged(LoggingSettings(), (logging.INFO, "x"))
    assert logging.getLogger().handlers == before
