"""residual: a small residual network; the last residual block uses squeeze-and-excitation."""

from typing import Any

from competition.models.networks.recipe import ONE_CYCLE_RECIPE
from competition.models.networks.spec import network_spec


def body(x: Any) -> Any:
    """Reduce 28 pixels per side to 14, 12, 6 and 3, with a residual block at 12 and at 6."""
    from keras import layers

    from competition.models.networks.layers import conv_bn_relu, max_pool, residual_block, squeeze_and_excite

    x = conv_bn_relu(x, 32, 5, strides=2)
    x = residual_block(conv_bn_relu(x, 64, 3, padding="valid"))
    x = conv_bn_relu(max_pool(x), 128, 3)
    x = max_pool(residual_block(x, squeeze_and_excite))
    return layers.Dropout(0.4)(layers.Flatten()(x))


SPEC = network_spec(body, ONE_CYCLE_RECIPE, seconds=175)
