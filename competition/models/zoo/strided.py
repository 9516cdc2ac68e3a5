"""strided: strided convolutions instead of pooling; the network of the best public Kaggle ensemble."""

from dataclasses import replace
from typing import Any

from competition.models.networks.recipe import ONE_CYCLE_RECIPE, TUTORIAL_RECIPE
from competition.models.networks.spec import network_spec


def body(x: Any) -> Any:
    """Two groups of 3x3, 3x3 and strided 5x5 convolutions, then a 4x4 convolution."""
    from keras import layers

    from competition.models.networks.layers import conv_bn_relu

    for filters in (32, 64):
        for _ in range(2):
            x = conv_bn_relu(x, filters, 3, padding="valid")
        x = layers.Dropout(0.4)(conv_bn_relu(x, filters, 5, strides=2))
    x = conv_bn_relu(x, 128, 4, padding="valid")
    return layers.Dropout(0.4)(layers.Flatten()(x))


def exponential_decay(progress: float) -> float:
    """Multiply the rate by 0.95 after each of 45 epochs."""
    return 0.95 ** int(45 * progress)


SPEC = network_spec(body, ONE_CYCLE_RECIPE, seconds=125)
AUTHOR_RECIPE = replace(TUTORIAL_RECIPE, epochs=45, batch_size=64, schedule=exponential_decay)
VARIANTS = {"author": replace(SPEC, recipe=AUTHOR_RECIPE, seconds=1200)}
