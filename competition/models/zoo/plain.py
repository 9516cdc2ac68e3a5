"""plain: unpadded 3x3 convolutions and nothing else; each takes a ring off the image and adds 16 filters."""

from dataclasses import replace
from typing import Any

from competition.models.networks.recipe import ANNEALED
from competition.models.networks.spec import network


def body(x: Any) -> Any:
    """28 pixels a side become 13, 11, 9, 7, 5 and 3; only the first convolution strides."""
    from keras import layers

    from competition.models.networks.layers import convolution

    x = convolution(x, 32, 3, strides=2, padding="valid")
    for filters in (48, 64, 80, 96, 112):
        x = convolution(x, filters, 3, padding="valid")
    return layers.Flatten()(x)


SPEC = network(body, replace(ANNEALED, epochs=24), seconds=300)
