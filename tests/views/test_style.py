"""The colours of the style sheet have enough contrast, by WCAG 2.1."""

import re

import pytest

from competition.views.html import STYLE

TEXT, LINES = ("ink", "faint", "accent", "good", "warn", "bad"), ("accent", "second", "bad")
MIN_TEXT_CONTRAST, MIN_LINE_CONTRAST = 4.5, 3.0


def palettes():
    """The colours of each scheme: light, dark and print."""
    blocks = re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.S)
    return dict(
        zip(("light", "dark", "print"), (dict(re.findall(r"--(\w+): (#\w{6})", b)) for b in blocks), strict=True)
    )


def luminance(colour):
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first, second):
    low, high = sorted(map(luminance, (first, second)))
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_of_black_and_white():
    assert contrast("#000000", "#ffffff") == pytest.approx(21) and contrast("#777777", "#777777") == 1


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
@pytest.mark.parametrize("background", ["paper", "card"])
def test_text_and_lines_have_contrast(scheme, background):
    palette = palettes()[scheme]
    for name in TEXT:
        assert contrast(palette[name], palette[background]) >= MIN_TEXT_CONTRAST, name
    for name in LINES:
        assert contrast(palette[name], palette[background]) >= MIN_LINE_CONTRAST, name
