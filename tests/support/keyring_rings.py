"""Keychains that misbehave, chosen through PYTHON_KEYRING_BACKEND."""

import threading

from keyring.backend import KeyringBackend


class Silent(KeyringBackend):
    """Never answers, as one does that waits for a person to unlock it."""

    priority = 1

    def get_password(self, service: str, username: str) -> str | None:
        threading.Event().wait(60)
        return None

    def set_password(self, service: str, username: str, password: str) -> None:
        threading.Event().wait(60)

    def delete_password(self, service: str, username: str) -> None:
        threading.Event().wait(60)


class Forgetful(KeyringBackend):
    """Accepts everything and keeps nothing."""

    priority = 1

    def get_password(self, service: str, username: str) -> str | None:
        return None

    def set_password(self, service: str, username: str, password: str) -> None:
        pass

    def delete_password(self, service: str, username: str) -> None:
        pass


class PlaintextKeyring(Forgetful):
    """Named as those are that write secrets into the open."""
