"""Pictures from anywhere, brought to the form of a competition's images.

Tables of pixels pass unchanged. A photograph or a scan of a dark sign on light paper does not look like the training
images: it is turned light on dark, and where those are measured to be boxed and centred, so is it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from competition.data import tables
from competition.errors import Problem

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
SAMPLE = 2_000  # images that the form is measured on
INK = 0.15  # of the brightest pixel: less is paper
STEADY = 0.04  # of the side: centres of mass that vary less than this were made so
ALIKE = 0.95  # share of the images that are on the same paper, if there is any
BRIGHT = 255
BRIGHTER = 257  # times as many steps have 16 bits
GREY = ("1", "L", "LA")  # how Pillow calls what has no colours
LARGEST = 10_000  # pixels a side


@dataclass(frozen=True)
class Form:
    """What a competition's images have in common."""

    shape: tuple[int, ...]  # (height, width, channels)
    box: int | None  # longest side of what is drawn, where all are scaled to one and centred by mass
    is_light_on_dark: bool | None  # None where the images have no paper, but edges of any brightness

    @classmethod
    def measured(cls, images: np.ndarray) -> "Form":
        """The form of these images."""
        grey = images[:: max(1, len(images) // SAMPLE)].mean(axis=3)
        edges = np.concatenate([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], axis=1)
        dark = (np.median(edges, axis=1) < grey.max() / 2).mean()
        is_light_on_dark = None if 1 - ALIKE < dark < ALIKE else bool(dark > 0.5)
        drawn = [image for image in grey if image.max()]
        if not is_light_on_dark or not drawn:
            return cls(images.shape[1:], None, is_light_on_dark)
        side = images.shape[1]
        off = np.array([_mass(image) for image in drawn]) - (side - 1) / 2
        longest = np.array([max(np.ptp(axis) + 1 for axis in np.nonzero(image)) for image in drawn])
        is_made_so = np.abs(off).mean() < STEADY * side and np.mean(longest == np.median(longest)) > 0.8
        return cls(images.shape[1:], int(np.median(longest)) if is_made_so else None, is_light_on_dark)

    def take(self, picture: Image.Image) -> np.ndarray:
        """A picture in this form."""
        height, width, channels = self.shape
        if channels == 3:
            return scaled(picture.convert("RGB"), width, height)
        grey = np.asarray(picture.convert("L"), dtype=np.float32)
        is_dark = _edge(grey) < BRIGHT / 2
        if self.is_light_on_dark is not None and is_dark != self.is_light_on_dark:
            grey = BRIGHT - grey
        placed = _placed(grey, self.shape[0], self.box) if self.box else _squared(grey, width, height)
        return placed[..., None]


def read(paths: Sequence[Path], images: np.ndarray) -> Iterator[tuple[Path, np.ndarray]]:
    """Each file, or each file of a folder, and its images in the form of those given; one that is none is a Problem."""
    form = Form.measured(images)
    for path in paths:
        files = sorted(one for one in path.rglob("*") if one.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not files:
            raise Problem(f"{path} has no pictures ({', '.join(SUFFIXES)})")
        for file in files:
            if not file.exists():
                raise Problem(f"{file} is missing")
            if file.suffix.lower() in SUFFIXES:
                yield file, form.take(opened(file))[None]
            else:
                yield file, tables.pixels(file, form.shape)


def scaled(picture: Image.Image, width: int, height: int) -> np.ndarray:
    """The picture's pixels, brought to this size if it has another."""
    same = picture.size == (width, height)
    return np.asarray(picture if same else picture.resize((width, height), Image.Resampling.LANCZOS))


def opened(path: Path) -> Image.Image:
    """The picture in a file, decoded to eight bits, on white where it is transparent."""
    try:
        picture = Image.open(path)
        if max(picture.size) > LARGEST:
            raise Problem(f"{path} has {picture.width} x {picture.height} pixels; {LARGEST} a side are the most")
        picture.load()
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise Problem(f"{path} is no picture that can be read: {error}") from None
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) / BRIGHTER).round().astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise Problem(f"{path} has brightnesses of 32 bits; save it with 8 or 16")
    if "A" not in picture.mode and "transparency" not in picture.info:
        return picture
    clear = picture.convert("RGBA")
    white = Image.new("RGBA", clear.size, "white")
    return Image.alpha_composite(white, clear).convert("L" if picture.mode in GREY else "RGB")


def _placed(grey: np.ndarray, side: int, box: int) -> np.ndarray:
    """What is drawn, freed of the paper, scaled to the box, its centre of mass in the middle."""
    grey = np.maximum(grey - _edge(grey), 0)
    if not grey.max():
        return np.zeros((side, side), dtype=np.uint8)
    rows, columns = np.nonzero(grey > INK * grey.max())
    drawn = grey[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] / grey.max() * BRIGHT
    scale = box / max(drawn.shape)
    size = tuple(max(1, round(length * scale)) for length in drawn.shape[::-1])
    small = np.asarray(Image.fromarray(drawn.astype(np.uint8)).resize(size, Image.Resampling.LANCZOS), dtype=float)
    corner = np.rint((side - 1) / 2 - np.array(_mass(small))).astype(int)
    corner = np.clip(corner, 0, np.array([side, side]) - small.shape)
    placed = np.zeros((side, side))
    placed[corner[0] : corner[0] + small.shape[0], corner[1] : corner[1] + small.shape[1]] = small
    return placed.astype(np.uint8)


def _squared(grey: np.ndarray, width: int, height: int) -> np.ndarray:
    """The whole picture, scaled into the form without changing its proportions."""
    scale = min(width / grey.shape[1], height / grey.shape[0])
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    small = np.asarray(Image.fromarray(grey.astype(np.uint8)).resize(size, Image.Resampling.LANCZOS))
    placed = np.full((height, width), np.uint8(_edge(grey)))
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    placed[top : top + size[1], left : left + size[0]] = small
    return placed


def _edge(grey: np.ndarray) -> float:
    """What the picture's edge has, which is the paper."""
    return float(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))


def _mass(image: np.ndarray) -> tuple[float, float]:
    """The centre of mass, (row, column)."""
    down, right = (image.sum(axis=1 - axis) @ np.arange(image.shape[axis]) / image.sum() for axis in (0, 1))
    return float(down), float(right)
