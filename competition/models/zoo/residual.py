"""residual: pairs of convolutions beside a shortcut, the last pair weighed channel by channel."""

from typing import Any

from competition.models.networks.recipe import ANNEALED
from competition.models.networks.spec import network


def body(x: Any) -> Any:
    """28 pixels a side become 14, 12, 6 and 3; shortcuts run where the size stays."""
    from keras import layers

    from competition.models.networks.layers import convolution, halve, shortcut, squeeze_and_excite

    x = convolution(x, 32, 5, strides=2)
    x = shortcut(convolution(x, 64, 3, padding="valid"))
    x = convolution(halve(x), 128, 3)
    x = halve(shortcut(x, squeeze_and_excite))
    return layers.Dropout(0.4)(layers.Flatten()(x))


SPEC = network(body, ANNEALED, seconds=300)
