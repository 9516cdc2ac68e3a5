"""quick: a small network with the best accuracy per second of CPU time.

The first convolution is strided, so that all others process a quarter of the pixels; unpadded convolutions shrink the
image further while the number of filters grows. Without the blank border of `digits`: 284,000 parameters, 5.6 million
multiply-adds.
"""

from dataclasses import replace
from functools import partial
from typing import Any

from competition.models.networks.recipe import TUNED_RECIPE
from competition.models.networks.spec import network_spec, with_epochs


def body(x: Any, filters: int = 32) -> Any:
    """Reduce 24 pixels per side to 12, 10, 8, 4, 4 and 2."""
    from keras import layers

    from competition.models.networks.layers import conv_bn_relu, max_pool

    x = conv_bn_relu(x, filters, 5, strides=2)
    x = conv_bn_relu(x, 2 * filters, 3, padding="valid")
    x = max_pool(conv_bn_relu(x, 2 * filters, 3, padding="valid"))
    x = conv_bn_relu(x, 4 * filters, 3)
    x = conv_bn_relu(x, 4 * filters, 3, padding="valid")
    return layers.Dropout(0.4)(layers.Flatten()(x))


SPEC = network_spec(body, TUNED_RECIPE, seconds=75)
VARIANTS = {
    "deskewed": replace(SPEC, recipe=replace(TUNED_RECIPE, deskew=True), seconds=65),  # makes other errors
    "short": with_epochs(SPEC, 6),  # for quick experiments
    "long": with_epochs(SPEC, 22),  # this and the next one take twice the time
    "wide": network_spec(partial(body, filters=48), TUNED_RECIPE, seconds=140),
}
