"""Every colour, size and distance of the windows, in one place.

Text colours keep a contrast of at least 4.5 to 1 on the surfaces they are used on, in both palettes;
`tests/ui/test_tokens.py` computes it.
"""

from dataclasses import dataclass

SANS = "Inter"
MONO = "JetBrains Mono"

TEXT_SMALL = 12
TEXT_UI = 13
TEXT_BODY = 15
TEXT_TITLE = 15
TEXT_DISPLAY = 24
TEXT_CODE = 13

COLUMN = 760
BUBBLE = 560
SIDEBAR = 256
RADIUS = 10
RADIUS_LARGE = 16


@dataclass(frozen=True, kw_only=True)
class Palette:
    """One appearance. Colours are `#rrggbb`; `syntax` names a Pygments style."""

    name: str
    window: str
    sidebar: str
    raised: str
    hover: str
    pressed: str
    code: str
    line: str
    text: str
    muted: str
    accent: str
    accent_hover: str
    on_accent: str
    link: str
    danger: str
    danger_soft: str
    good: str
    busy: str
    selection: str
    syntax: str


DARK = Palette(
    name="dark",
    window="#121419",
    sidebar="#0d0f13",
    raised="#1c1f27",
    hover="#252933",
    pressed="#2e333f",
    code="#0b0d11",
    line="#2a2f3a",
    text="#e8eaf0",
    muted="#98a0b0",
    accent="#f5b53d",
    accent_hover="#ffc760",
    on_accent="#201500",
    link="#f5b53d",
    danger="#ff8a80",
    danger_soft="#2c1a1c",
    good="#4cc38a",
    busy="#6aa5ff",
    selection="#5a4413",
    syntax="github-dark",
)

LIGHT = Palette(
    name="light",
    window="#fdfdfc",
    sidebar="#f4f3f0",
    raised="#f1f0ec",
    hover="#e9e7e2",
    pressed="#dedbd4",
    code="#f7f6f3",
    line="#e2dfd8",
    text="#1d1e22",
    muted="#62646d",
    accent="#f0a92b",
    accent_hover="#e39a17",
    on_accent="#201500",
    link="#8a5200",
    danger="#b3261e",
    danger_soft="#fdeeec",
    good="#1c7f4f",
    busy="#2563c9",
    selection="#fbe3b0",
    syntax="friendly",
)


def luminance(colour: str) -> float:
    """WCAG 2.2 relative luminance of `#rrggbb`, 0 to 1."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """WCAG 2.2 contrast ratio of two colours, 1 to 21."""
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)
