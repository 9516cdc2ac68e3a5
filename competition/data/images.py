"""Read image files and convert them to the format of a competition's training images.

Pixels in CSV files are used unchanged. A photograph or scan of a dark character on light paper is inverted if the
training images are light on dark. If all of these are square, centred and of one size, it is centred and scaled, too.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from competition.data import tables
from competition.data.background import edge_brightness, find_background
from competition.data.inventory import SUFFIXES
from competition.errors import UserError

SAMPLE_SIZE = 2_000  # images used to infer the format
INK_THRESHOLD = 0.15  # of the brightest pixel; darker pixels are background
CENTRED = 0.04  # of the side; images are centred if their centres of mass deviate less on average
WHITE = 255
SCALE_16_BIT = 257  # 65535 / 255
GREY = ("1", "L", "LA")  # Pillow's modes without colour
MAX_SIDE = 10_000  # pixels
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations of images whose width and height are exchanged
WITH_EXIF_HEADER = ("JPEG", "MPO", "WEBP")  # formats whose EXIF data can be read without decoding the image

# Of damaged EXIF data, of which only the orientation is used:
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")


@dataclass(frozen=True)
class ImageFormat:
    """Properties that the images of a competition have in common."""

    shape: tuple[int, ...]  # (height, width, channels)
    box: int | None  # longest side of the drawing, if all have the same, in square images, and are centred by mass
    is_light_on_dark: bool | None  # None if the images have no uniform background

    @classmethod
    def infer(cls, images: np.ndarray) -> "ImageFormat":
        """Infer the format of the images (rows, height, width, channels) from a sample of them."""
        grey = images[:: max(1, len(images) // SAMPLE_SIZE)].mean(axis=3)
        background = find_background(edge_brightness(grey[..., None]), grey.max())
        is_light_on_dark = background == "dark" if background else None
        drawings = [image for image in grey if image.max()]
        if not is_light_on_dark or not drawings or grey.shape[1] != grey.shape[2]:
            return cls(images.shape[1:], None, is_light_on_dark)
        side = images.shape[1]
        offsets = np.array([_centre_of_mass(image) for image in drawings]) - (side - 1) / 2
        extents = np.array([max(np.ptp(axis) + 1 for axis in np.nonzero(image)) for image in drawings])
        is_boxed = np.abs(offsets).mean() < CENTRED * side and np.mean(extents == np.median(extents)) > 0.8
        return cls(images.shape[1:], int(np.median(extents)) if is_boxed else None, is_light_on_dark)

    def convert(self, image: Image.Image) -> np.ndarray:
        """The pixels (height, width, channels) of an image in this format."""
        height, width, channels = self.shape
        if channels == 3:
            return resize_image(image.convert("RGB"), width, height)
        grey = np.asarray(image.convert("L"), dtype=np.float32)
        has_dark_edge = _edge_brightness(grey) < WHITE / 2
        if self.is_light_on_dark is not None and has_dark_edge != self.is_light_on_dark:
            grey = WHITE - grey
        pixels = _fit_to_box(grey, self.shape[0], self.box) if self.box else _fit_whole(grey, width, height)
        return pixels[..., None]


def read_images(paths: Sequence[Path], images: np.ndarray) -> Iterator[tuple[Path, np.ndarray]]:
    """Yield each file, or each image file in a folder, with its images (rows, height, width, channels).

    Image files are converted to the format of the training images `images`; CSV files have a column for each pixel.
    """
    image_format = ImageFormat.infer(images)
    for file in list_input_files(paths):
        if file.suffix.lower() in SUFFIXES:
            yield file, image_format.convert(open_image(file))[None]
        elif file.suffix.lower() == ".csv":
            yield file, tables.read_pixels(file, image_format.shape)
        else:
            formats = ", ".join(SUFFIXES)
            raise UserError(f"{file} is neither an image ({formats}) nor a table (.csv); convert it, e.g. to PNG")


def list_input_files(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield each file, or each image file in a folder."""
    for path in paths:
        files = _list_images(path) if path.is_dir() else [path]
        if not files:
            raise UserError(f"{path} contains no images ({', '.join(SUFFIXES)})")
        for file in files:
            if not file.exists():
                raise UserError(f"{file} is missing")
            yield file


def _list_images(folder: Path) -> list[Path]:
    """The image files in the folder and its subfolders, except hidden ones such as macOS's ._a.png."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(folder / path for path in paths if not any(part.startswith(".") for part in path.parts))


def resize_image(image: Image.Image, width: int, height: int) -> np.ndarray:
    """The pixels of the image, resized if it has another size."""
    has_size = image.size == (width, height)
    return np.asarray(image if has_size else image.resize((width, height), Image.Resampling.LANCZOS))


def read_size(path: Path) -> tuple[int, int]:
    """The width and height of an image file, from its header."""
    with _explain_errors(path), Image.open(path) as image:
        width, height = image.size
        orientation = 1
        if image.format in WITH_EXIF_HEADER:
            with suppress(Exception):  # a damaged EXIF block can raise almost anything
                orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return (height, width) if orientation in SIDEWAYS else (width, height)


def open_image(path: Path, side: int | None = None) -> Image.Image:
    """Decode an image file to eight bits per channel, on a white background where it is transparent.

    Photographs are rotated as their EXIF orientation says.
    If it is going to be reduced to `side` pixels, a JPEG file is decoded at a smaller scale, which is faster.
    """
    with _explain_errors(path), path.open("rb") as file, Image.open(file) as image:
        if max(image.size) > MAX_SIDE:
            size = f"{image.width}x{image.height}"
            raise UserError(f"{path} has {size} pixels; scale it down to at most {MAX_SIDE} pixels per side")
        if side and image.format == "JPEG":
            image.draft(image.mode, (2 * side, 2 * side))
        image.load()
        return prepare_image(image)


@contextmanager
def _explain_errors(path: Path) -> Iterator[None]:
    """Turn the error of an image file that cannot be read into a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # a damaged image can raise almost anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"cannot read the image {path}: {reason}") from None


def prepare_image(image: Image.Image) -> Image.Image:
    """A loaded image with eight bits per channel, upright and, where it is transparent, on a white background."""
    with suppress(Exception):  # a damaged EXIF block can raise almost anything
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) / SCALE_16_BIT).round().astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("it has 32 bits per pixel; save it as 8- or 16-bit")
    if "A" not in image.mode and "transparency" not in image.info:
        return image
    transparent = image.convert("RGBA")
    white = Image.new("RGBA", transparent.size, "white")
    return Image.alpha_composite(white, transparent).convert("L" if image.mode in GREY else "RGB")


def _fit_to_box(grey: np.ndarray, side: int, box: int) -> np.ndarray:
    """Remove the background, scale the drawing to the box and move its centre of mass to the middle."""
    grey = np.maximum(grey - _edge_brightness(grey), 0)
    if not grey.max():
        return np.zeros((side, side), dtype=np.uint8)
    rows, columns = np.nonzero(grey > INK_THRESHOLD * grey.max())
    drawing = grey[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] / grey.max() * WHITE
    scale = box / max(drawing.shape)
    size = tuple(max(1, round(length * scale)) for length in drawing.shape[::-1])
    scaled = np.asarray(Image.fromarray(drawing.astype(np.uint8)).resize(size, Image.Resampling.LANCZOS), dtype=float)
    corner = np.rint((side - 1) / 2 - np.array(_centre_of_mass(scaled))).astype(int)
    corner = np.clip(corner, 0, np.array([side, side]) - scaled.shape)
    canvas = np.zeros((side, side))
    canvas[corner[0] : corner[0] + scaled.shape[0], corner[1] : corner[1] + scaled.shape[1]] = scaled
    return canvas.astype(np.uint8)


def _fit_whole(grey: np.ndarray, width: int, height: int) -> np.ndarray:
    """Scale the whole image to this size, keeping its proportions; margins get the brightness of its edge."""
    scale = min(width / grey.shape[1], height / grey.shape[0])
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    scaled = np.asarray(Image.fromarray(grey.astype(np.uint8)).resize(size, Image.Resampling.LANCZOS))
    canvas = np.full((height, width), np.uint8(_edge_brightness(grey)))
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = scaled
    return canvas


def _edge_brightness(grey: np.ndarray) -> float:
    """The median brightness of the edge pixels, which estimates the background."""
    return float(edge_brightness(grey[None, :, :, None])[0])


def _centre_of_mass(image: np.ndarray) -> tuple[float, float]:
    """The centre of mass (row, column)."""
    row, column = (image.sum(axis=1 - axis) @ np.arange(image.shape[axis]) / image.sum() for axis in (0, 1))
    return float(row), float(column)
