"""The API key that the node of a data directory asks for."""

from collections.abc import Mapping

from app.core.config.load import LoadedSettings
from app.core.identity.keys import API_KEY
from app.core.identity.opening import read_secret


async def known_api_key(loaded: LoadedSettings, environ: Mapping[str, str]) -> str | None:
    """The key that the settings give or that a node made; None before a node's first start.

    Raises SecretsError.
    """
    settings = loaded.settings
    return settings.api.api_key or await read_secret(settings.node.data_dir, environ, API_KEY)
