"""Write a practice competition of many classes with few rows: characters in ink on paper, 20 drawings of each.

A font's glyphs are distorted at random, which imitates different handwriting.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, map_coordinates

from competition.data.practice import write_competition
from competition.errors import UserError

FONT = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-DemiLight.ttc")  # of Debian's package
PACKAGE = "fonts-noto-cjk-extra"
CHARACTERS = "".join(
    chr(code)
    for first, last in (("ア", "ン"), ("あ", "ん"), ("ㄱ", "ㅎ"), ("ㄅ", "ㄩ"))
    for code in range(ord(first), ord(last) + 1)
    if chr(code) not in "ァィゥェォッャュョヮぁぃぅぇぉっゃゅょゎへべぺ"  # which look like others
)
SIDE = 48  # pixels
FONT_SIZE = 30
DRAWINGS = 20  # of each character, in the training and in the test rows
WAVES = ((6.0, 25.0), (2.7, 5.0))  # width and strength of the distortions, in pixels


def make_characters(folder: Path, font: Path = FONT, characters: str = CHARACTERS) -> None:
    """Write the competition into `folder`."""
    glyphs = list(_render(font, characters))
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(glyphs)), DRAWINGS)
    parts = []
    for _ in range(2):
        order = rng.permutation(len(labels))
        drawings = [255 - _distort(glyphs[label], rng).ravel() for label in labels[order]]
        parts += [np.stack(drawings), labels[order]]
    write_competition(folder, *parts)


def _render(font: Path, characters: str) -> Iterator[np.ndarray]:
    """Yield each character in white on black."""
    if not font.exists():
        raise UserError(f"{font} is missing; install Debian's package {PACKAGE}, or name another file: --font")
    face = ImageFont.truetype(font, FONT_SIZE)
    for character in characters:
        image = Image.new("L", (SIDE, SIDE))
        ImageDraw.Draw(image).text((SIDE / 2, SIDE / 2), character, fill=255, font=face, anchor="mm")
        yield np.asarray(image, dtype=np.float32)


def _distort(glyph: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rotate, scale, shear, shift and warp a glyph at random."""
    angle, shear = np.radians(rng.normal(0, 7)), rng.normal(0, 0.15)
    (scale_y, scale_x), offset = rng.uniform(0.75, 1.35, 2), rng.normal(0, 3, 2)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2 - offset[:, None, None]
    rotated_y, rotated_x = np.cos(angle) * y - np.sin(angle) * x, np.cos(angle) * x + (np.sin(angle) + shear) * y
    sources = [rotated * scale + _wave(rng) for rotated, scale in ((rotated_y, scale_y), (rotated_x, scale_x))]
    return map_coordinates(glyph, np.add(sources, (SIDE - 1) / 2), order=1).round().astype(np.uint8)


def _wave(rng: np.random.Generator) -> np.ndarray:
    """Smooth random displacements of the pixels."""
    noise = rng.normal(0, 1, (len(WAVES), SIDE, SIDE))
    waves = [strength * gaussian_filter(each, width) for each, (width, strength) in zip(noise, WAVES, strict=True)]
    return np.asarray(sum(waves))
