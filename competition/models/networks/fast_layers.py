"""Layers that train faster with TensorFlow on CPUs than those of Keras; networks are saved with Keras's own layers.

On other backends, and for prediction, these layers are those of Keras.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

# Input channels from which on matrix products compute the filter's gradient faster than oneDNN's convolution does,
# 1.2 to 4 times as fast; see docs/experiments/training.md.
MATMUL_CHANNELS = {"bfloat16": 64, "float32": 128}


def _trains_on_cpu() -> bool:
    """Whether TensorFlow trains without a GPU, whose own kernels are faster."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow

    return not tensorflow.config.list_physical_devices("GPU")


class FastConv2D(layers.Conv2D):
    """A convolution whose filter gradient is computed by matrix products, one for each position in the filter."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve the inputs with the kernel."""
        limit = MATMUL_CHANNELS.get(self.compute_dtype, np.inf)
        is_supported = self.groups == 1 and set(self.strides) == set(self.dilation_rate) == {1}
        if not is_supported or kernel.shape[2] < limit or not _trains_on_cpu():
            return super().convolution_op(inputs, kernel)
        import tensorflow

        @tensorflow.custom_gradient
        def convolve(inputs: Any, kernel: Any) -> Any:
            def gradients(upstream: Any) -> Any:
                input_gradient = tensorflow.raw_ops.Conv2DBackpropInput(
                    input_sizes=tensorflow.shape(inputs),
                    filter=kernel,
                    out_backprop=upstream,
                    strides=[1, 1, 1, 1],
                    padding=self.padding.upper(),
                )
                return input_gradient, _filter_gradient(inputs, kernel.shape, upstream)

            return tensorflow.nn.conv2d(inputs, kernel, strides=1, padding=self.padding.upper()), gradients

        return convolve(inputs, tensorflow.identity(kernel))


def _filter_gradient(inputs: Any, shape: tuple[int, ...], upstream: Any) -> Any:
    """Return the gradient of a convolution's kernel of this shape: a product of shifted inputs for each position."""
    import tensorflow

    height, width = upstream.shape[1:3]
    # Zero for `valid` padding; for `same`, an odd row or column goes to the bottom or right, as TensorFlow pads.
    padding = [
        out + size - 1 - side for out, size, side in zip((height, width), shape, inputs.shape[1:3], strict=False)
    ]
    padded = tensorflow.pad(inputs, [(0, 0), *((total // 2, total - total // 2) for total in padding), (0, 0)])
    flat = tensorflow.reshape(upstream, (-1, shape[3]))
    shifted = (
        padded[:, row : row + height, column : column + width] for row in range(shape[0]) for column in range(shape[1])
    )
    products = [tensorflow.matmul(tensorflow.reshape(part, (-1, shape[2])), flat, transpose_a=True) for part in shifted]
    return tensorflow.reshape(tensorflow.stack(products), shape)


class FusedBatchNormalization(layers.BatchNormalization):
    """Batch normalization that trains with TensorFlow's fused kernel, several times as fast as Keras's operations."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize the inputs and, in training, update the moving averages."""
        if not (training and self.trainable and mask is None and keras.backend.backend() == "tensorflow"):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow

        outputs, mean, variance, *_ = tensorflow.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=ops.cast(self.gamma, "float32"),
            offset=ops.cast(self.beta, "float32"),
            mean=[],
            variance=[],
            epsilon=self.epsilon,
            is_training=True,
        )
        for average, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + batch * (1 - self.momentum))
        return outputs


def fold_batch_normalization(network: keras.Model) -> keras.Model:
    """Return an equivalent network of Keras's layers: each normalization becomes part of the convolution before it."""
    convolutions = {
        layer.output.name: layer for layer in network.layers if isinstance(layer, FastConv2D) and not layer.use_bias
    }
    normalizations = {
        convolutions[layer.input.name].name: layer
        for layer in network.layers
        if isinstance(layer, layers.BatchNormalization) and layer.input.name in convolutions
    }

    def add_bias(layer: Any) -> Any:
        config = layer.get_config() | ({"use_bias": True} if layer.name in normalizations else {})
        keras_classes = {FastConv2D: layers.Conv2D, FusedBatchNormalization: layers.BatchNormalization}
        return keras_classes.get(type(layer), type(layer)).from_config(config)

    folded_names = {layer.name for layer in normalizations.values()}

    def call_or_skip(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name in folded_names else layer(*args, **kwargs)

    folded = keras.models.clone_model(network, clone_function=add_bias, call_function=call_or_skip)
    for layer in (layer for layer in folded.layers if layer.weights):
        weights = network.get_layer(layer.name).get_weights()
        if norm := normalizations.get(layer.name):
            gamma, beta, mean, variance = norm.get_weights()
            scale = gamma / np.sqrt(variance + norm.epsilon)
            weights = [weights[0] * scale, beta - mean * scale]
        layer.set_weights(weights)
    return folded
