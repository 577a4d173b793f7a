"""The tray icon of modern Linux desktops: StatusNotifierItem with its menu, on a private D-Bus."""

import sys
from pathlib import Path

import pytest

from tests.support.ui_display import app_on, display, ends, eventually, missing_programs

if sys.platform != "linux" or missing_programs("dbus-daemon"):
    pytest.skip("needs Linux and a display's programs", allow_module_level=True)

from tests.support.ui_status_notifier import Panel, private_bus

pytestmark = [pytest.mark.window, pytest.mark.slow]


def test_the_icon_tells_the_state_and_its_menu_works(tmp_path: Path) -> None:
    with private_bus() as address, Panel(address) as panel:
        environment = {"DBUS_SESSION_BUS_ADDRESS": address}
        with display(tray=False, env=environment) as shown, app_on(shown, tmp_path, "{}") as app:
            eventually(lambda: panel.items)
            eventually(lambda: "Ready - swarmllm-guide" in panel.menu())
            properties = panel.properties()
            assert "Ready - swarmllm-guide" in str(properties["ToolTip"])
            assert {width for width, _, _ in properties["IconPixmap"]} & {22, 24, 32}
            menu = panel.menu()
            assert menu["Ready - swarmllm-guide"][1]["enabled"] is False
            assert {"Open chat", "Copy API address", "Copy API key", "Quit"} <= set(menu)

            shown.xdotool("search", "--onlyvisible", "--name", "SwarmLLM", "windowactivate", "--sync")
            shown.xdotool("key", "alt+F4")
            eventually(lambda: not shown.windows("SwarmLLM"))
            panel.activate()
            eventually(lambda: shown.windows("SwarmLLM"))

            panel.click("Quit")
            assert ends(app) == 0
