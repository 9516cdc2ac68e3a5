"""scikit-learn transformers that extract image features.

`LightOnDark`, `Pixels` and `Deskew` take uint8 images (rows, height, width, channels); `Deskew` converts them to
greyscale. All but the first return floats.
"""

from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA

from competition.models.polarity import find_white, invert

BATCH_PIXELS = 200 * 28 * 28  # per batch, so that intermediate results stay in the cache
EPSILON = 1e-6


class _BatchedTransformer(TransformerMixin, BaseEstimator):
    """A stateless transformer that processes images independently, in batches of rows."""

    def fit(self, images: np.ndarray, labels: np.ndarray | None = None) -> Self:
        """Do nothing: there is nothing to fit."""
        return self

    def transform(self, images: np.ndarray) -> np.ndarray:
        """Features of each image."""
        rows = max(1, BATCH_PIXELS // int(np.prod(images.shape[1:3])))
        starts = range(0, len(images), rows)
        return np.concatenate([self._transform_batch(images[start : start + rows]) for start in starts])

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def _transform_batch(self, images: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class LightOnDark(TransformerMixin, BaseEstimator):
    """Invert images whose background is light in the training rows."""

    def fit(self, images: np.ndarray, labels: np.ndarray | None = None) -> Self:
        """Detect the background."""
        self.white_ = find_white(images)
        return self

    def transform(self, images: np.ndarray) -> np.ndarray:
        """Return the images, or their negatives."""
        return invert(images, self.white_)


class Pixels(_BatchedTransformer):
    """Raw pixels, scaled to 0..1: (rows, pixels)."""

    def _transform_batch(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).astype(np.float32) / 255


class Deskew(_BatchedTransformer):
    """Centre each image's mass and remove its slant by image moments: (rows, height, width) in 0..1."""

    def _transform_batch(self, images: np.ndarray) -> np.ndarray:
        grey = images.mean(axis=3, dtype=np.float32) / 255
        _, height, width = grey.shape
        y, x = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)
        mass = grey.sum(axis=(1, 2)) + EPSILON
        row_sums, column_sums = grey.sum(axis=2), grey.sum(axis=1)
        centre_y, centre_x = row_sums @ y / mass, column_sums @ x / mass
        offset_y, offset_x = y - centre_y[:, None], x - centre_x[:, None]
        variance_y = (row_sums * offset_y**2).sum(axis=1) / mass
        covariance = np.einsum("nyx,ny,nx->n", grey, offset_y, offset_x, optimize=True) / mass
        slant = covariance / (variance_y + EPSILON)
        # Source coordinates of each output pixel: shifted along its row by the slant, and by the offset of the centre.
        source_y = np.broadcast_to(y + (centre_y - (height - 1) / 2)[:, None], (len(grey), height))
        shift = slant[:, None] * (source_y - centre_y[:, None]) + (centre_x - (width - 1) / 2)[:, None]
        source_x = x + shift[:, :, None]
        return _interpolate_columns(_interpolate_rows(grey, source_y), source_x)


class Hog(_BatchedTransformer):
    """Histograms of oriented gradients, with linear interpolation between orientations and between cells.

    Signed gradients (0-360 degrees), so that the two edges of a stroke differ.

    Each entry of `cells` is the number of cells per side of one grid. Blocks of 2x2 neighbouring cells are normalized
    together to unit length and clipped. `epsilon` is added to the length, since otherwise faint noise in an empty
    corner would count as much as a stroke. The square root is returned, so that Euclidean distances are Hellinger
    distances.
    """

    def __init__(
        self, cells: tuple[int, ...] = (7, 4), orientations: int = 12, clip: float = 0.4, epsilon: float = 0.3
    ) -> None:
        self.cells = cells
        self.orientations = orientations
        self.clip = clip
        self.epsilon = epsilon

    def _transform_batch(self, images: np.ndarray) -> np.ndarray:
        votes = self._vote(images)
        return np.concatenate([self._normalize_blocks(pool_cells(votes, cells)) for cells in self.cells], axis=1)

    def _vote(self, images: np.ndarray) -> np.ndarray:
        """Gradient magnitude of each pixel by orientation: (rows, height, width, orientations)."""
        gradient_y, gradient_x = (gradient.ravel() for gradient in np.gradient(images, axis=(1, 2)))
        pixels = np.flatnonzero((gradient_y != 0) | (gradient_x != 0))  # the others, mostly background, have no votes
        gradient_y, gradient_x = gradient_y[pixels], gradient_x[pixels]
        magnitude = np.hypot(gradient_y, gradient_x)
        position = np.arctan2(gradient_y, gradient_x) / (2 * np.pi) % 1 * self.orientations
        low = np.floor(position)
        fraction = position - low
        low = low.astype(np.int64) % self.orientations
        votes = np.zeros((*images.shape, self.orientations), dtype=np.float32)
        flat, first = votes.reshape(-1), pixels * self.orientations
        flat[first + low] = magnitude * (1 - fraction)
        flat[first + (low + 1) % self.orientations] = magnitude * fraction
        return votes

    def _normalize_blocks(self, grid: np.ndarray) -> np.ndarray:
        """Overlapping blocks of 2x2 cells, each normalized and clipped, flattened."""
        windows = np.lib.stride_tricks.sliding_window_view(grid, (2, 2), axis=(1, 2))
        blocks = windows.reshape(*windows.shape[:3], -1)
        length = np.linalg.norm(blocks, axis=-1, keepdims=True)
        normalized = np.minimum(blocks / (length + self.epsilon), self.clip)
        return np.sqrt(normalized).reshape(len(blocks), -1).astype(np.float32)


class RandomizedPCA(TransformerMixin, BaseEstimator):
    """Principal component analysis by a randomized solver, which is much faster than the exact one."""

    def __init__(self, n_components: int = 120, seed: int = 0) -> None:
        self.n_components = n_components
        self.seed = seed

    def fit(self, features: np.ndarray, labels: np.ndarray | None = None) -> Self:
        """Fit as many components as rows and features allow, at most `n_components`."""
        n_components = min(self.n_components, *features.shape)
        self.pca_ = PCA(n_components, svd_solver="randomized", iterated_power=2, random_state=self.seed).fit(features)
        # Use the layout that loading produces, so a reloaded model is bit-identical.
        self.pca_.components_ = np.ascontiguousarray(self.pca_.components_)
        return self

    def transform(self, features: np.ndarray) -> np.ndarray:
        """Project the rows onto the components."""
        return self.pca_.transform(features)


class WithinClassWhitening(TransformerMixin, BaseEstimator):
    """Shrink the directions in which rows of the same class vary, so that distances separate classes.

    A power of 0.5 whitens the within-class covariance fully; a smaller one allows for its estimation error.
    """

    def __init__(self, power: float = 0.25, floor: float = 1e-3) -> None:
        self.power = power
        self.floor = floor  # fraction of the mean variance, added to all variances

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Self:
        """Estimate the covariance within classes."""
        index = np.unique(labels, return_inverse=True)[1]
        means = np.stack([features[index == label].mean(axis=0) for label in range(index.max() + 1)])
        covariance = np.cov(features - means[index], rowvar=False)
        variances, axes = np.linalg.eigh(covariance)
        variances = np.maximum(variances, 0) + self.floor * variances.mean() + EPSILON**2
        self.matrix_ = np.ascontiguousarray(((axes * variances**-self.power) @ axes.T).astype(features.dtype))
        return self

    def transform(self, features: np.ndarray) -> np.ndarray:
        """Transform the rows into the whitened space."""
        return features @ self.matrix_


class RBFLandmarkFeatures(TransformerMixin, BaseEstimator):
    """RBF kernel between the normalized rows and landmarks, which are randomly chosen training rows.

    Unlike Nystroem, it does not whiten the columns, which would cost more than the ridge regression that follows.
    """

    def __init__(self, n_landmarks: int = 3_000, gamma: float = 1.0, seed: int = 0) -> None:
        self.n_landmarks = n_landmarks
        self.gamma = gamma
        self.seed = seed

    def fit(self, features: np.ndarray, labels: np.ndarray | None = None) -> Self:
        """Choose the landmarks."""
        chosen = np.random.default_rng(self.seed).permutation(len(features))[: self.n_landmarks]
        self.landmarks_ = _normalize_rows(features[chosen])
        return self

    def transform(self, features: np.ndarray) -> np.ndarray:
        """Similarity to each landmark (rows, landmarks)."""
        cosine = _normalize_rows(features) @ self.landmarks_.T
        return np.exp(2 * self.gamma * (cosine - 1))


def _normalize_rows(rows: np.ndarray) -> np.ndarray:
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + EPSILON)


def pool_cells(votes: np.ndarray, cells: int) -> np.ndarray:
    """Sum votes over a grid of cells x cells; each pixel contributes to its nearest cells by linear interpolation."""
    rows, height, width, orientations = votes.shape
    # Matrix products along one axis at a time: einsum would copy the votes into another order.
    by_row = cell_weights(height, cells) @ votes.reshape(rows, height, width * orientations)
    return cell_weights(width, cells) @ by_row.reshape(rows, cells, width, orientations)


def cell_weights(side: int, cells: int) -> np.ndarray:
    """Weights (cells, side) of the pixels along a side for each cell, decreasing linearly from the cell's centre."""
    width = side / cells
    centre = (np.arange(cells) + 0.5) * width - 0.5
    return np.maximum(0, 1 - np.abs(np.arange(side) - centre[:, None]) / width).astype(np.float32)


def _interpolate_rows(images: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Interpolate rows of (n, height, width) at fractional positions (n, height); 0 outside."""
    return _interpolate_columns(images.transpose(0, 2, 1), position[:, None, :]).transpose(0, 2, 1)


def _interpolate_columns(images: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Interpolate columns of (n, height, width) at fractional positions that broadcast to it; 0 outside."""
    width = images.shape[2]
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1)))
    position = np.broadcast_to(np.clip(position + 1, 0, width + 0.999), images.shape)
    low = position.astype(np.int64)
    fraction = (position - low).astype(np.float32)
    high = np.minimum(low + 1, width + 1)
    return (
        np.take_along_axis(padded, low, axis=2) * (1 - fraction) + np.take_along_axis(padded, high, axis=2) * fraction
    )
