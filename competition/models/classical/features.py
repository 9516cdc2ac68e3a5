"""Transformers of images for models that do not learn their own features; each fits into a scikit-learn Pipeline.

They take images (rows, height, width, channels) and hand on floats; colours are averaged to grey.
"""

from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA

AT_ONCE = 2_000 * 28 * 28  # pixels, which bounds the memory that a transformer takes beside its result
EPSILON = 1e-6


class _Rowwise(TransformerMixin, BaseEstimator):
    """A transformer that learns nothing and treats each image by itself, a block of rows at a time."""

    def fit(self, images: np.ndarray, labels: np.ndarray | None = None) -> Self:
        """Nothing to learn."""
        return self

    def transform(self, images: np.ndarray) -> np.ndarray:
        """The features of each image."""
        rows = max(1, AT_ONCE // int(np.prod(images.shape[1:3])))
        starts = range(0, len(images), rows)
        return np.concatenate([self._block(images[start : start + rows]) for start in starts])

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def _block(self, images: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class Pixels(_Rowwise):
    """Each pixel by itself, in 0..1."""

    def _block(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).astype(np.float32) / 255


class Deskew(_Rowwise):
    """Centre each image's mass and shear its slant away, by its moments: (rows, height, width) in 0..1."""

    def _block(self, images: np.ndarray) -> np.ndarray:
        grey = images.mean(axis=3, dtype=np.float32) / 255
        _, height, width = grey.shape
        y, x = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)
        mass = grey.sum(axis=(1, 2)) + EPSILON
        in_row, in_column = grey.sum(axis=2), grey.sum(axis=1)
        centre_y, centre_x = in_row @ y / mass, in_column @ x / mass
        off_y, off_x = y - centre_y[:, None], x - centre_x[:, None]
        spread_y = (in_row * off_y**2).sum(axis=1) / mass
        together = np.einsum("nyx,ny,nx->n", grey, off_y, off_x, optimize=True) / mass
        slant = together / (spread_y + EPSILON)
        # Where each pixel of the result comes from: along its row by the slant, and whole by the centre's offset.
        from_y = np.broadcast_to(y + (centre_y - (height - 1) / 2)[:, None], (len(grey), height))
        shift = slant[:, None] * (from_y - centre_y[:, None]) + (centre_x - (width - 1) / 2)[:, None]
        from_x = x + shift[:, :, None]
        return _between_columns(_between_rows(grey, from_y), from_x)


class Hog(_Rowwise):
    """Histograms of gradients by direction over cells, each pixel shared between directions and between cells.

    The directions go all around: from dark to light counts apart from light to dark, so the two edges of a stroke do.

    Each entry of `cells` lays a grid of so many cells a side over the image; neighbouring 2x2 cells are normalised
    together, to a length of one, then clipped. The `floor` is added to the length: without it the faint traces in an
    empty corner would count as much as a stroke. Roots are handed on: distances between roots of histograms weigh a
    difference by how rare it is.
    """

    def __init__(
        self, cells: tuple[int, ...] = (7, 4), directions: int = 12, clip: float = 0.4, floor: float = 0.3
    ) -> None:
        self.cells = cells
        self.directions = directions
        self.clip = clip
        self.floor = floor

    def _block(self, images: np.ndarray) -> np.ndarray:
        votes = self._votes(images)
        return np.concatenate([self._normalised(_shared(votes, cells)) for cells in self.cells], axis=1)

    def _votes(self, images: np.ndarray) -> np.ndarray:
        """How strongly each pixel's gradient points into each direction: (rows, height, width, directions)."""
        rows, columns = np.gradient(images, axis=(1, 2))
        strength = np.hypot(rows, columns)
        position = np.arctan2(rows, columns) / (2 * np.pi) % 1 * self.directions
        low = np.floor(position)
        share = position - low
        low = low.astype(np.int64) % self.directions
        votes = np.zeros((*images.shape, self.directions), dtype=np.float32)
        np.put_along_axis(votes, low[..., None], (strength * (1 - share))[..., None], axis=3)
        high = (low + 1) % self.directions
        np.put_along_axis(votes, high[..., None], (strength * share)[..., None], axis=3)
        return votes

    def _normalised(self, grid: np.ndarray) -> np.ndarray:
        """Overlapping blocks of 2x2 cells, each brought to length one, flattened."""
        windows = np.lib.stride_tricks.sliding_window_view(grid, (2, 2), axis=(1, 2))
        blocks = windows.reshape(*windows.shape[:3], -1)
        length = np.linalg.norm(blocks, axis=-1, keepdims=True)
        shares = np.minimum(blocks / (length + self.floor), self.clip)
        return np.sqrt(shares).reshape(len(blocks), -1).astype(np.float32)


class Projection(TransformerMixin, BaseEstimator):
    """The principal components, found by a randomised solver in a fraction of the exact one's time."""

    def __init__(self, components: int = 120, seed: int = 0) -> None:
        self.components = components
        self.seed = seed

    def fit(self, features: np.ndarray, labels: np.ndarray | None = None) -> Self:
        """Learn the axes, as many as the rows allow."""
        components = min(self.components, *features.shape)
        self.pca_ = PCA(components, svd_solver="randomized", iterated_power=2, random_state=self.seed).fit(features)
        # Laid out as it will be after loading, so that a kept model predicts the same bits.
        self.pca_.components_ = np.ascontiguousarray(self.pca_.components_)
        return self

    def transform(self, features: np.ndarray) -> np.ndarray:
        """The rows along the axes."""
        return self.pca_.transform(features)


class WithinClass(TransformerMixin, BaseEstimator):
    """Shrink the directions in which rows of one class differ from each other, so that distances tell classes apart.

    A power of 0.5 makes the classes round; less goes only part of the way, since the covariance is an estimate.
    """

    def __init__(self, power: float = 0.25, floor: float = 1e-3) -> None:
        self.power = power
        self.floor = floor  # of the mean variance: no direction counts for more than it can bear

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Self:
        """Learn the mean covariance within the classes."""
        position = np.unique(labels, return_inverse=True)[1]
        means = np.stack([features[position == one].mean(axis=0) for one in range(position.max() + 1)])
        covariance = np.cov(features - means[position], rowvar=False)
        variances, axes = np.linalg.eigh(covariance)
        variances = np.maximum(variances, 0) + self.floor * variances.mean() + EPSILON**2
        self.map_ = np.ascontiguousarray(((axes * variances**-self.power) @ axes.T).astype(features.dtype))
        return self

    def transform(self, features: np.ndarray) -> np.ndarray:
        """The rows in the new metric."""
        return features @ self.map_


class Likeness(TransformerMixin, BaseEstimator):
    """How like each row is to some of the training rows: a Gaussian of the angle between them.

    Unlike Nystroem it leaves the examples correlated; to undo that costs more than a ridge regression on them.
    """

    def __init__(self, examples: int = 3_000, sharpness: float = 1.0, seed: int = 0) -> None:
        self.examples = examples
        self.sharpness = sharpness
        self.seed = seed

    def fit(self, features: np.ndarray, labels: np.ndarray | None = None) -> Self:
        """Draw the examples."""
        drawn = np.random.default_rng(self.seed).permutation(len(features))[: self.examples]
        self.examples_ = _of_length_one(features[drawn])
        return self

    def transform(self, features: np.ndarray) -> np.ndarray:
        """A column for each example."""
        cosine = _of_length_one(features) @ self.examples_.T
        return np.exp(2 * self.sharpness * (cosine - 1))


def _of_length_one(rows: np.ndarray) -> np.ndarray:
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + EPSILON)


def _shared(votes: np.ndarray, cells: int) -> np.ndarray:
    """Sums over a grid of cells x cells, each pixel shared between the cells whose centres are nearest."""
    down, across = (_share_of_cells(side, cells) for side in votes.shape[1:3])
    return np.einsum("ay,nyxd,bx->nabd", down, votes, across, optimize=True)


def _share_of_cells(side: int, cells: int) -> np.ndarray:
    """How much of each pixel along a side goes to each cell: (cells, side), falling off linearly from its centre."""
    width = side / cells
    centre = (np.arange(cells) + 0.5) * width - 0.5
    return np.maximum(0, 1 - np.abs(np.arange(side) - centre[:, None]) / width).astype(np.float32)


def _between_rows(images: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Rows of (n, height, width) at fractional positions (n, height), interpolated, 0 outside."""
    return _between_columns(images.transpose(0, 2, 1), position[:, None, :]).transpose(0, 2, 1)


def _between_columns(images: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Columns of (n, height, width) at fractional positions that broadcast to it, interpolated, 0 outside."""
    width = images.shape[2]
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1)))
    position = np.broadcast_to(np.clip(position + 1, 0, width + 0.999), images.shape)
    low = position.astype(np.int64)
    share = (position - low).astype(np.float32)
    high = np.minimum(low + 1, width + 1)
    return np.take_along_axis(padded, low, axis=2) * (1 - share) + np.take_along_axis(padded, high, axis=2) * share
