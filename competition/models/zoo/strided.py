"""strided: convolutions that stride instead of pooling, the network of the best public Kaggle ensemble."""

from dataclasses import replace
from typing import Any

from competition.models.networks.recipe import ANNEALED, CUSTOMARY
from competition.models.networks.spec import network


def body(x: Any) -> Any:
    """Twice 3x3, 3x3 and a striding 5x5, then one 4x4 over all that is left."""
    from keras import layers

    from competition.models.networks.layers import convolution

    for filters in (32, 64):
        for _ in range(2):
            x = convolution(x, filters, 3, padding="valid")
        x = layers.Dropout(0.4)(convolution(x, filters, 5, strides=2))
    x = convolution(x, 128, 4, padding="valid")
    return layers.Dropout(0.4)(layers.Flatten()(x))


def fading(done: float) -> float:
    """A twentieth less after each of 45 epochs."""
    return 0.95 ** int(45 * done)


SPEC = network(body, ANNEALED, seconds=250)
AUTHOR = replace(CUSTOMARY, epochs=45, batch=64, schedule=fading)
VARIANTS = {"author": replace(SPEC, recipe=AUTHOR, seconds=1850)}
