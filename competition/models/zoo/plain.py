"""plain: a stack of unpadded 3x3 convolutions; each trims a border of one pixel and adds 16 filters."""

from dataclasses import replace
from typing import Any

from competition.models.networks.recipe import ONE_CYCLE_RECIPE
from competition.models.networks.spec import network_spec


def body(x: Any) -> Any:
    """Reduce 28 pixels per side to 13, 11, 9, 7, 5 and 3; only the first convolution is strided."""
    from keras import layers

    from competition.models.networks.layers import conv_bn_relu

    x = conv_bn_relu(x, 32, 3, strides=2, padding="valid")
    for filters in (48, 64, 80, 96, 112):
        x = conv_bn_relu(x, filters, 3, padding="valid")
    return layers.Flatten()(x)


SPEC = network_spec(body, replace(ONE_CYCLE_RECIPE, epochs=24), seconds=150)
