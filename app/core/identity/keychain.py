"""The operating system's keychain through `keyring`, believed only after it kept a probe entry.

A keychain may be missing, locked, or ask a person and wait for ever, so every call runs in a thread that
is given up after a while. Backends that only pretend to keep a secret are refused.
"""

import queue
import secrets as random_source
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from app.core.identity.backends import BackendName
from app.core.kernel.errors import SecretsError

T = TypeVar("T")

SERVICE = "SwarmLLM"

_REFUSED_MODULES = ("keyring.backends.fail", "keyring.backends.null", "keyrings.alt", "keyrings.cryptfile")
_CHAIN_MODULE = "keyring.backends.chainer"


class KeychainBackend:
    """Entries of one data directory: service "SwarmLLM <namespace>", user name the secret's name."""

    kind: BackendName = "keychain"

    def __init__(self, ring: Any, *, namespace: str, timeout: float) -> None:
        self._ring = ring
        self._service = f"{SERVICE} {namespace}"
        self._timeout = timeout

    @property
    def description(self) -> str:
        """The name of the keychain that is used, e.g. "Secret Service"."""
        return str(getattr(self._ring, "name", type(self._ring).__name__))

    def get(self, name: str) -> str | None:
        value: str | None = self._call(lambda: self._ring.get_password(self._service, name))
        return value

    def set(self, name: str, value: str) -> None:
        self._call(lambda: self._ring.set_password(self._service, name, value))

    def delete(self, name: str) -> None:
        if self.get(name) is not None:
            self._call(lambda: self._ring.delete_password(self._service, name))

    def prove(self) -> None:
        """Sets, reads and removes a probe entry. Raises SecretsError if any of it fails."""
        name, value = f"probe-{random_source.token_hex(8)}", random_source.token_hex(16)
        self.set(name, value)
        kept = self.get(name)
        self.delete(name)
        if kept != value:
            raise SecretsError("The keychain did not keep a test entry.")

    def _call(self, action: Callable[[], T]) -> T:
        return within(self._timeout, action)


def open_keychain(*, namespace: str, timeout: float) -> KeychainBackend:
    """The user's keychain, proven to work. `timeout` is in seconds and holds for each call.

    Raises SecretsError with the reason if there is none that can be used.
    """
    ring = within(timeout, _choose)
    keychain = KeychainBackend(ring, namespace=namespace, timeout=timeout)
    keychain.prove()
    return keychain


def within(timeout: float, action: Callable[[], T]) -> T:
    """Runs `action` in a thread for at most `timeout` seconds.

    A thread that hangs is left behind; being a daemon, it does not keep the process alive.
    Raises SecretsError when the time is over or `action` raised.
    """
    answers: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((True, action()))
        except Exception as error:
            answers.put((False, error))

    threading.Thread(target=run, name="keychain", daemon=True).start()
    try:
        succeeded, outcome = answers.get(timeout=timeout)
    except queue.Empty:
        raise SecretsError(
            f"The keychain did not answer within {timeout:.0f} seconds; it is probably locked."
        ) from None
    if succeeded:
        value: T = outcome
        return value
    if isinstance(outcome, SecretsError):
        raise outcome
    raise SecretsError(f"The keychain failed: {_reason(outcome)}.") from outcome


def _choose() -> Any:
    from keyring import core  # noqa: PLC0415 - 25 ms that only this thread should spend

    core.init_backend()
    for ring in _flattened(core.get_keyring()):
        if not _refused(ring):
            return ring
    raise SecretsError("This session has no keychain.")


def _flattened(ring: Any) -> list[Any]:
    if type(ring).__module__ == _CHAIN_MODULE:
        return [inner for member in ring.backends for inner in _flattened(member)]
    return [ring]


def _refused(ring: Any) -> bool:
    module = type(ring).__module__
    plain = "plaintext" in type(ring).__name__.lower()
    return plain or any(module == name or module.startswith(name + ".") for name in _REFUSED_MODULES)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:200].rstrip(".") or type(error).__name__
