"""EfficientNet-Lite0 whose last blocks and head are fine-tuned."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from competition.models.networks.fast_layers import FastConv2D, FusedBatchNormalization
from competition.models.pretrained.efficientnet_lite import (
    EPSILON,
    MEAN,
    NORMALIZATION_PARTS,
    SCALE,
    FoldedLayers,
    Weights,
    apply_blocks,
    apply_layer,
)

MOMENTUM = 0.9  # of the moving averages, which have to follow the weights within a thousand steps


def fine_tuned_features(x: Any, weights: Weights, frozen_blocks: int) -> Any:
    """Pooled features of colour images in 0..1; the stem and the first blocks are frozen."""
    x = layers.Rescaling(255 / SCALE, offset=-MEAN / SCALE, dtype="float32")(x)
    frozen = FoldedLayers(weights, keras.config.dtype_policy().name, uses_keras_layers=True)
    return layers.GlobalAveragePooling2D()(apply_blocks(x, frozen, _NormalizedLayers(weights), frozen_blocks))


@dataclass(frozen=True)
class _NormalizedLayers:
    """Makes convolutions and batch normalizations to be trained."""

    weights: Weights
    precision: None = None

    def convolution(
        self, x: Any, name: str, normalization: str, strides: int = 1, activation: str | None = "relu6"
    ) -> Any:
        """Convolution, batch normalization and ReLU6, if any."""
        kernel = self.weights[f"{name}.weight"].transpose(2, 3, 1, 0)
        layer = FastConv2D(kernel.shape[3], kernel.shape[:2], strides, "same", use_bias=False)
        y = self._normalize(apply_layer(layer, x, kernel), normalization)
        return layers.ReLU(6.0)(y) if activation else y

    def depthwise_convolution(self, x: Any, name: str, normalization: str, strides: int) -> Any:
        """Depthwise convolution, batch normalization and ReLU6."""
        kernel = self.weights[f"{name}.weight"].transpose(2, 3, 0, 1)
        layer = layers.DepthwiseConv2D(kernel.shape[:2], strides, "same", use_bias=False)
        return layers.ReLU(6.0)(self._normalize(apply_layer(layer, x, kernel), normalization))

    def _normalize(self, x: Any, name: str) -> Any:
        parts = [self.weights[f"{name}.{part}"] for part in NORMALIZATION_PARTS]
        return apply_layer(FusedBatchNormalization(momentum=MOMENTUM, epsilon=EPSILON), x, *parts)
