"""Tokens are readable, the style sheet is complete, the fonts are there."""

import re

import pytest
from PySide6.QtGui import QFontDatabase, QFontInfo
from PySide6.QtWidgets import QApplication

from app.ui.resources import FONTS, ICONS
from app.ui.status import Phase, phase_colour
from app.ui.theme.icons import Icons, app_icon, mark, status_icon
from app.ui.theme.stylesheet import stylesheet
from app.ui.theme.theme import Theme, mono, sans
from app.ui.theme.tokens import DARK, LIGHT, Palette, contrast


@pytest.mark.parametrize("palette", [DARK, LIGHT], ids=lambda palette: palette.name)
def test_text_is_readable_on_every_surface(palette: Palette) -> None:
    for surface in (palette.window, palette.sidebar, palette.raised, palette.code, palette.hover):
        assert contrast(palette.text, surface) >= 7, surface
    for surface in (palette.window, palette.sidebar, palette.raised):
        assert contrast(palette.muted, surface) >= 4.5, surface
        assert contrast(palette.link, surface) >= 4.5, surface
    assert contrast(palette.text, palette.danger_soft) >= 7
    assert contrast(palette.text, palette.selection) >= 4.5
    assert contrast(palette.on_accent, palette.accent) >= 4.5
    assert contrast(palette.on_accent, palette.accent_hover) >= 4.5


@pytest.mark.parametrize("palette", [DARK, LIGHT], ids=lambda palette: palette.name)
def test_states_stand_out_from_the_sidebar(palette: Palette) -> None:
    colours = [phase_colour(phase, palette) for phase in (Phase.READY, Phase.BUSY, Phase.ERROR)]
    assert len(set(colours)) == 3
    assert all(contrast(colour, palette.sidebar) >= 3 for colour in colours)


def test_the_style_sheet_leaves_no_placeholder() -> None:
    sheet = stylesheet(DARK, chevron="/x.svg")
    assert "$" not in sheet
    assert sheet.count("{") == sheet.count("}")


def test_the_theme_follows_a_choice_and_tells(theme: Theme, application: QApplication) -> None:
    told: list[str] = []
    theme.changed.connect(lambda: told.append(theme.palette.name))
    theme.choose("light")
    theme.choose("light")
    theme.choose("dark")
    assert told == ["light", "dark"]
    assert DARK.window in application.styleSheet()


def test_the_shipped_fonts_are_used(theme: Theme) -> None:
    families = QFontDatabase.families()
    assert {"Inter", "JetBrains Mono"} <= set(families)
    assert QFontInfo(sans()).family() == "Inter"
    assert QFontInfo(mono()).fixedPitch()


def test_fonts_stay_small_and_carry_their_licences() -> None:
    assert sum(path.stat().st_size for path in FONTS.iterdir()) < 2_000_000
    for font in ("Inter", "JetBrainsMono"):
        assert "SIL OPEN FONT LICENSE" in (FONTS / f"OFL-{font}.txt").read_text(encoding="utf-8")


def test_every_icon_draws_something_in_the_colour_asked(theme: Theme) -> None:
    for path in ICONS.glob("*.svg"):
        if re.search("currentColor", path.read_text(encoding="utf-8")):
            image = Icons().glyph(path.stem, "#ff0000", 24).pixmap(24, 24).toImage()
            reds = [
                image.pixelColor(x, y).red()
                for x in range(image.width())
                for y in range(image.height())
                if image.pixelColor(x, y).alpha() > 200
            ]
            assert reds, path.name
            assert min(reds) > 200, path.name


def test_the_mark_fills_its_square_and_the_tray_icons_differ(theme: Theme) -> None:
    assert mark(16).toImage().pixelColor(8, 2).alpha() > 128
    assert {size.width() for size in app_icon().availableSizes()} >= {16, 32, 256}
    icons = [status_icon(phase_colour(phase, DARK)).pixmap(22, 22).toImage() for phase in Phase]
    assert icons[0] != icons[1]
