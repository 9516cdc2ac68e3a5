"""Draw small images whose class shows in stripes, spots, colours and shapes; as (height, width, channels) arrays.

Everything is random but the class: phases, positions and sizes vary, and noise is added, so that no two images are
equal and a small model still does far better than chance. Sizes are (height, width).
"""

import colorsys
import io

import numpy as np
from PIL import Image

Size = tuple[int, int]


def random_size(rng: np.random.Generator, smallest: Size, largest: Size) -> Size:
    """A random size between two others."""
    height, width = rng.integers(smallest, np.add(largest, 1))
    return int(height), int(width)


def draw_background(size: Size, channels: int = 3, level: float = 110) -> np.ndarray:
    """A plain background."""
    return np.full((*size, channels), float(level))


def draw_texture(rng: np.random.Generator, size: Size, channels: int = 3, contrast: float = 30) -> np.ndarray:
    """A background with smooth bright and dark areas and a tint of its own, e.g. that of one patient's images."""
    coarse = rng.normal(0, contrast, (4, 4, channels)) + rng.normal(0, contrast / 2, channels)
    layers = [
        np.asarray(
            Image.fromarray(coarse[..., channel].astype(np.float32)).resize(size[::-1], Image.Resampling.BICUBIC)
        )
        for channel in range(channels)
    ]
    return 110 + np.stack(layers, axis=-1).astype(float)


def add_stripes(
    rng: np.random.Generator, image: np.ndarray, angle: float, cycles: float = 3.5, contrast: float = 30
) -> None:
    """Add stripes at this angle, in radians, with a random phase."""
    y, x = _coordinates(image)
    angle += rng.normal(0, 0.08)
    wave = np.sin(np.pi * cycles * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 2 * np.pi))
    image += contrast * wave[..., None]


def add_spot(
    rng: np.random.Generator,
    image: np.ndarray,
    centre: tuple[float, float],
    radius: float,
    colour: tuple[float, ...],
    jitter: float = 0.1,
) -> None:
    """Add a soft spot of this colour near `centre` (x, y); the corners of an image are at -1 and 1."""
    y, x = _coordinates(image)
    dx, dy = rng.normal(0, jitter, 2)
    distance = (x - centre[0] - dx) ** 2 + (y - centre[1] - dy) ** 2
    image += np.exp(-distance / radius**2)[..., None] * np.asarray(colour)


def add_class_pattern(
    rng: np.random.Generator, image: np.ndarray, label: int, classes: int, contrast: float = 1.0
) -> None:
    """Mark the image with its class: the angle of stripes, the position of a spot and, in colour, a tint."""
    channels = image.shape[2]
    turn = label / classes
    add_stripes(rng, image, np.pi * turn, contrast=28 * contrast)
    centre = 0.55 * np.cos(2 * np.pi * turn), 0.55 * np.sin(2 * np.pi * turn)
    add_spot(rng, image, centre, 0.35, (70 * contrast,) * channels, jitter=0.12)
    if channels == 3:
        image += contrast * 30 * (np.array(colorsys.hsv_to_rgb(turn, 1, 1)) - 0.5)


def add_noise(rng: np.random.Generator, image: np.ndarray, noise: float = 20) -> np.ndarray:
    """The image with noise and a random brightness, as bytes."""
    noisy = image + rng.normal(0, noise, image.shape) + rng.normal(0, noise / 2)
    return noisy.clip(0, 255).astype(np.uint8)


def draw_class(
    rng: np.random.Generator,
    label: int,
    classes: int,
    size: Size,
    channels: int = 3,
    contrast: float = 1.0,
) -> np.ndarray:
    """An image of one of several classes."""
    image = draw_background(size, channels)
    add_class_pattern(rng, image, label, classes, contrast)
    return add_noise(rng, image)


def draw_retina(rng: np.random.Generator, grade: int, size: Size) -> np.ndarray:
    """An orange disc on black; the higher the grade of the disease, the more bright spots."""
    image = draw_background(size, level=0)
    y, x = _coordinates(image)
    image[x**2 + y**2 < 0.85] = 130, 60, 20
    for _ in range(4 * grade + rng.integers(3)):
        angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.7)
        add_spot(rng, image, (radius * np.cos(angle), radius * np.sin(angle)), 0.16, (60, 110, 20))
    return add_noise(rng, image, 10)


def draw_tissue(rng: np.random.Generator, tumor: int, size: Size) -> np.ndarray:
    """Pink tissue with dark nuclei; only those in the middle third tell whether it is a tumor."""
    image = draw_texture(rng, size, contrast=12) + np.array([90, 20, 70])
    for centre in rng.uniform(-1, 1, (10, 2)):
        if abs(centre).max() > 0.5:
            add_spot(rng, image, tuple(centre), 0.2, (-90, -60, -30), jitter=0)
    if tumor:
        add_spot(rng, image, (0, 0), 0.26, (-50, -35, -15), jitter=0.05)
    return add_noise(rng, image, 14)


def draw_lesion(rng: np.random.Generator, background: np.ndarray, malignant: int) -> np.ndarray:
    """A brown mole on skin; malignant ones are larger, darker and have several centres."""
    image = background + np.array([70, 30, 0])
    for _ in range(1 + 2 * malignant):
        colour = (-75, -55, -10) if malignant else (-60, -60, -50)
        add_spot(rng, image, (0, 0), 0.35, colour, jitter=0.28 if malignant else 0.12)
    return add_noise(rng, image, 14)


def draw_leaf(rng: np.random.Generator, species: int, size: Size) -> np.ndarray:
    """The black silhouette of a leaf on white; species differ in their number of lobes and in their width."""
    y, x = _coordinates(np.empty((*size, 1)))
    angle = np.arctan2(y, x) + rng.normal(0, 0.1)
    radius = 0.65 + 0.2 * np.cos((species + 2) * angle) + rng.normal(0, 0.03)
    inside = np.hypot(x * (1 + 0.15 * species), y) < radius
    return np.where(inside, 0, 255).astype(np.uint8)[..., None]


def encode(pixels: np.ndarray, suffix: str) -> bytes:
    """An image file with this suffix: `png`, `jpg` or `tif`."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    formats = {"png": "PNG", "jpg": "JPEG", "tif": "TIFF"}
    image.save(buffer, formats[suffix], **({"quality": 92} if suffix == "jpg" else {}))
    return buffer.getvalue()


def _coordinates(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The y and x of each pixel, from -1 to 1."""
    height, width = image.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return y, x
