"""Which Host and Origin headers pass."""

import pytest

from app.core.api.problems import Forbidden
from app.core.api.security.origins import Origins


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8800", "127.0.0.1", "localhost:8800", "LocalHost", "[::1]:8800", "[0:0:0:0:0:0:0:1]:9"],
)
def test_this_machines_names_pass(host: str) -> None:
    Origins().check(host=host, origin=None)
    Origins().check(host=host, origin=f"http://{host}")


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "evil.example:8800",
        "localhost.evil.example",
        "127.0.0.1.evil.example:80",
        "localhost@evil.example",
        "evil@localhost",
        "localhost/x",
        "localhost:port",
        "localhost:99999",
        "[::2]",
        "[::1",
        "192.168.0.7:8800",
    ],
)
def test_other_names_do_not(host: str | None) -> None:
    with pytest.raises(Forbidden):
        Origins().check(host=host, origin=None)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "https://localhost:8800",
        "http://localhost:3000",
        "http://localhost",
    ],
)
def test_pages_of_other_sites_do_not(origin: str) -> None:
    with pytest.raises(Forbidden):
        Origins().check(host="localhost:8800", origin=origin)


def test_a_page_can_be_allowed() -> None:
    origins = Origins(allowed={"app://obsidian.md"})
    origins.check(host="localhost:8800", origin="app://obsidian.md")
    assert origins.allows_page("app://obsidian.md")
    assert not origins.allows_page(None)
