"""The user's access token for the hub: from the environment, else among the node's secrets."""

import re
from collections.abc import Mapping
from typing import Final, Protocol

from app.core.kernel.errors import InvalidRequest

NAME: Final = "hf_token"
ENVIRONMENT: Final = "HF_TOKEN"
_TOKEN: Final = re.compile(r"[\x21-\x7e]{8,256}")


class SecretStore(Protocol):
    async def get(self, name: str, /) -> str | None: ...

    async def set(self, name: str, value: str, /) -> None: ...

    async def delete(self, name: str, /) -> None: ...


class HubToken:
    """HF_TOKEN in `environ` comes before what is kept in `secrets`. Methods raise SecretsError."""

    def __init__(self, *, secrets: SecretStore, environ: Mapping[str, str]) -> None:
        self._secrets = secrets
        self._environ = environ

    async def get(self) -> str | None:
        given = self._environ.get(ENVIRONMENT, "").strip()
        return given if _TOKEN.fullmatch(given) else await self._secrets.get(NAME)

    async def keep(self, token: str | None) -> None:
        """Keeps `token`, or forgets the one that is kept. Raises InvalidRequest for what cannot be one."""
        if token is None:
            await self._secrets.delete(NAME)
        elif _TOKEN.fullmatch(token):
            await self._secrets.set(NAME, token)
        else:
            raise InvalidRequest(
                "A token has 8 to 256 printable characters and no spaces, e.g. 'hf_...'.", param="token"
            )
