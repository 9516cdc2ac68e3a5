"""resnet: a residual network with global pooling, for colour pictures and for many classes.

After a strided convolution, each of three stages halves the image, doubles the filters and ends in a residual block, so
that all stages cost the same. Larger pictures are halved more often before, which bounds the cost. With 64x48 pixels:
1.9 million parameters, 85 million multiply-adds.
"""

from dataclasses import replace
from typing import Any

from competition.models.networks.recipe import TUNED_RECIPE
from competition.models.networks.spec import network_spec

LARGEST_SIDE = 40  # pixels of the shorter side before the first stage


def body(x: Any) -> Any:
    """Reduce 64 pixels per side to 32, 16, 8 and 4, then take each filter's maximum."""
    from keras import layers

    from competition.models.networks.layers import conv_bn_relu, halve_to, max_pool, residual_block

    x = conv_bn_relu(x, 32, 3, strides=2)
    x = halve_to(x, LARGEST_SIDE, 32)
    for filters in (64, 128, 256):
        x = residual_block(max_pool(conv_bn_relu(x, filters, 3)))
    return layers.Dropout(0.2)(layers.GlobalMaxPooling2D()(x))


RECIPE = replace(
    TUNED_RECIPE,
    epochs=12,
    min_steps=1_250,  # 40 epochs of 2,000 rows
    batch_size=64,
)
SPEC = network_spec(body, RECIPE, seconds=180)
