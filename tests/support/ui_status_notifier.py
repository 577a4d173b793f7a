"""A desktop panel as KDE and GNOME extensions have it: StatusNotifier over a private D-Bus.

`Panel` owns the watcher's name on a bus of its own, notes who registers an icon, reads the icon's
properties and menu, and clicks. It speaks through jeepney, which comes with keyring on Linux.
"""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jeepney import DBusAddress, HeaderFields, MessageType, new_error, new_method_call, new_method_return
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import DBusConnection, open_dbus_connection
from jeepney.low_level import Message

from tests.support.ui_display import running

WATCHER = "org.kde.StatusNotifierWatcher"
ITEM = "org.kde.StatusNotifierItem"
MENU = "com.canonical.dbusmenu"
PROPERTIES = "org.freedesktop.DBus.Properties"


@contextmanager
def private_bus() -> Iterator[str]:
    """A D-Bus daemon of its own; its address."""
    command = ["dbus-daemon", "--session", "--nofork", "--print-address"]
    with running(command, {"PATH": "/usr/bin:/bin"}, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        with daemon.stdout as printed:
            yield printed.readline().decode().strip()


class Panel:
    """`with` watches; `items` are the bus names and paths of the icons."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="status notifier watcher")
        self._ready = threading.Event()
        self.items: list[tuple[str, str]] = []

    def __enter__(self) -> "Panel":
        self._thread.start()
        assert self._ready.wait(20)
        self._calls = open_dbus_connection(self._address)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._calls.close()

    def properties(self) -> dict[str, Any]:
        """The icon's properties."""
        (values,) = self._call(PROPERTIES, "GetAll", "s", (ITEM,))
        return {name: value for name, (_, value) in values.items()}

    def activate(self) -> None:
        """A left click on the icon."""
        self._call(ITEM, "Activate", "ii", (0, 0))

    def menu(self) -> dict[str, tuple[int, dict[str, Any]]]:
        """The labels of the menu's entries, with their numbers and properties."""
        _, (_, _, children) = self._call(MENU, "GetLayout", "iias", (0, -1, []), path=self._menu_path())
        entries = {}
        for _, (number, values, _) in children:
            plain = {name: value for name, (_, value) in values.items()}
            entries[str(plain.get("label", f"separator {number}"))] = (number, plain)
        return entries

    def click(self, label: str) -> None:
        number, _ = self.menu()[label]
        event = (number, "clicked", ("i", 0), 0)
        self._call(MENU, "Event", "isvu", event, path=self._menu_path())

    def _menu_path(self) -> str:
        return str(self.properties()["Menu"])

    def _call(
        self, interface: str, member: str, signature: str, body: tuple[Any, ...], path: str = ""
    ) -> tuple[Any, ...]:
        name, own_path = self.items[0]
        address = DBusAddress(path or own_path, bus_name=name, interface=interface)
        message = new_method_call(address, member, signature, body)
        reply = self._calls.send_and_get_reply(message, timeout=20)
        assert reply.header.message_type == MessageType.method_return, reply.body
        return tuple(reply.body)

    def _serve(self) -> None:
        with open_dbus_connection(self._address) as connection:
            connection.send_and_get_reply(message_bus.RequestName(WATCHER))
            self._ready.set()
            while not self._stop.is_set():
                try:
                    message = connection.receive(timeout=0.2)
                except TimeoutError:
                    continue
                if message.header.message_type == MessageType.method_call:
                    self._answer(connection, message)

    def _answer(self, connection: DBusConnection, message: Message) -> None:
        fields = message.header.fields
        member = fields[HeaderFields.member]
        if member == "Get":
            answers = {"IsStatusNotifierHostRegistered": ("b", True), "ProtocolVersion": ("i", 0)}
            reply = new_method_return(message, "v", (answers.get(message.body[1], ("as", [])),))
        elif member == "RegisterStatusNotifierItem":
            sender = fields[HeaderFields.sender]
            named = message.body[0]
            path = named if named.startswith("/") else "/StatusNotifierItem"
            self.items.append((sender, path))
            reply = new_method_return(message)
        elif member == "RegisterStatusNotifierHost":
            reply = new_method_return(message)
        else:
            reply = new_error(message, "org.freedesktop.DBus.Error.UnknownMethod")
        connection.send(reply)
