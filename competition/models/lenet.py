"""lenet: two 3x3 convolutions with pooling, a dense layer, dropout: the tutorials' first convolutional network.

99.11 % out of fold on `digits`.
"""

from dataclasses import replace
from typing import Any

from competition.models.mlp import search as unwarped
from competition.networks import network
from competition.recipe import ENOUGH, Recipe, Warp, one_cycle


def body(x: Any) -> Any:
    """32 and 64 filters, each halved, then 128 units."""
    from keras import layers

    from competition.blocks import halve

    for filters in (32, 64):
        x = halve(layers.Conv2D(filters, 3, padding="same", activation="relu")(x))
    x = layers.Dense(128, activation="relu")(layers.Flatten()(x))
    return layers.Dropout(0.5)(x)


SPEC = network(
    body,
    Recipe(epochs=8, least_steps=ENOUGH, peak=2e-3, schedule=one_cycle, warp=Warp()),
    seconds=35,
)
VARIANTS = {"tutorial": replace(SPEC, recipe=Recipe(epochs=15, precision="float32"), search=unwarped, seconds=70)}
