"""Keeps web pages out: the Host header against DNS rebinding, the Origin header against cross-site calls.

A page that a user visits can send requests to 127.0.0.1. Browsers name the page in Origin (RFC 6454), and
after a rebinding the page's own host name in Host (RFC 9110, 7.2); programs send no Origin.
"""

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from app.core.api.problems import Forbidden

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Origins:
    """`hosts` are the names under which the API may be addressed; `allowed` are origins of web pages that
    may call it, e.g. "app://obsidian.md"."""

    def __init__(
        self, *, hosts: Collection[str] = LOOPBACK_NAMES, allowed: Collection[str] = frozenset()
    ) -> None:
        self._hosts = frozenset(hosts)
        self._allowed = frozenset(allowed)

    def allows_page(self, origin: str | None) -> bool:
        """Whether `origin` is a page of another site that was allowed explicitly."""
        return origin is not None and origin in self._allowed

    def check(self, *, host: str | None, origin: str | None) -> None:
        """Raises Forbidden."""
        if _host_name(host or "") not in self._hosts:
            raise Forbidden(
                "This node is addressed as 127.0.0.1 or localhost only; the Host header names another."
            )
        if origin is None or origin in self._allowed or origin == f"http://{host}":
            return
        raise Forbidden("Web pages of other sites may not use this node's API.")


def _host_name(host: str) -> str:
    """The name in "name:port", in lower case; "" for what is no host."""
    try:
        parts = urlsplit(f"//{host}")
        name = parts.hostname or ""
        if parts.port == 0 or parts.username is not None or parts.path or parts.query or parts.fragment:
            return ""
        return str(ip_address(name)) if ":" in name else name
    except ValueError:
        return ""
