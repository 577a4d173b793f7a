"""Bearer keys, compared in constant time."""

import hmac
from typing import Literal

from app.core.api.problems import Unauthorized

Holder = Literal["key", "session"]


class Keys:
    """The two keys that open the API: the user's own, and the one that this start of the node made for the
    windows and commands on the same machine."""

    def __init__(self, *, api_key: str, session_token: str) -> None:
        self._api_key = api_key.encode()
        self._session_token = session_token.encode()

    @property
    def api_key(self) -> str:
        return self._api_key.decode()

    def holder(self, authorization: str | None) -> Holder | None:
        """Whose key the header "Authorization: Bearer KEY" carries; None for nobody's."""
        scheme, _, given = (authorization or "").partition(" ")
        key = given.strip().encode("utf-8", "surrogateescape")
        is_key = hmac.compare_digest(key, self._api_key)
        is_session = hmac.compare_digest(key, self._session_token)
        if scheme.lower() != "bearer" or not key:
            return None
        if is_session:
            return "session"
        return "key" if is_key else None


def unauthorized(authorization: str | None) -> Unauthorized:
    """What to tell a request that no key opened."""
    if not authorization:
        return Unauthorized(
            "You didn't provide an API key. Send it in the header 'Authorization: Bearer YOUR_KEY'; "
            "`swarmllm key` shows the key of this node."
        )
    return Unauthorized("Incorrect API key provided. `swarmllm key` shows the key of this node.")
