"""detail: a small network whose first convolutions see every pixel, for pictures in which texture matters.

It costs three times as much as `quick`, whose first convolution is strided. Larger pictures are halved first,
which bounds the cost. With 28x28 pixels: 310,000 parameters, 18 million multiply-adds.
"""

from dataclasses import replace
from typing import Any

from competition.data.augmentation import Augmentation
from competition.models.networks.recipe import ONE_CYCLE_RECIPE
from competition.models.networks.spec import network_spec, with_epochs

LARGEST_SIDE = 40  # pixels of the shorter side before the first pooling


def body(x: Any, filters: int = 32) -> Any:
    """Reduce 28 pixels per side to 14, 7 and 5."""
    from keras import layers

    from competition.models.networks.layers import conv_bn_relu, max_pool

    while min(x.shape[1:3]) > LARGEST_SIDE:
        x = conv_bn_relu(x, filters, 3, strides=2)
    x = max_pool(conv_bn_relu(x, filters, 3))
    x = conv_bn_relu(x, 2 * filters, 3)
    x = max_pool(conv_bn_relu(x, 2 * filters, 3))
    x = conv_bn_relu(x, 4 * filters, 3)
    x = conv_bn_relu(x, 4 * filters, 3, padding="valid")
    return layers.Dropout(0.4)(layers.Flatten()(x))


RECIPE = replace(
    ONE_CYCLE_RECIPE,
    epochs=18,
    min_steps=1_600,
    peak_learning_rate=0.016,  # this and the following values are those of `quick`
    weight_decay=0.017,
    label_smoothing=0.113,
    augmentation=Augmentation(rotation=6.4, shift=0.065, zoom=0.233, shear=0.16),
)
SPEC = network_spec(body, RECIPE, seconds=250)
VARIANTS = {f"e{epochs}": with_epochs(SPEC, epochs) for epochs in (2, 4, 6, 8, 10, 12, 15)}  # for the rest of a budget
