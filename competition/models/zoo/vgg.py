"""vgg: the network of the common tutorials, two 5x5 and two 3x3 convolutions at full width, then a dense layer."""

from dataclasses import replace
from typing import Any

from competition.data.augmentation import Warp
from competition.models.networks.recipe import CUSTOMARY, ENOUGH, Recipe, halving, one_cycle
from competition.models.networks.spec import network


def body(x: Any) -> Any:
    """32 filters of 5x5 twice, 64 of 3x3 twice, each pair pooled and thinned out, then 256 units."""
    from keras import layers

    from competition.models.networks.layers import halve

    for filters, size in ((32, 5), (64, 3)):
        for _ in range(2):
            x = layers.Conv2D(filters, size, padding="same", activation="relu")(x)
        x = layers.Dropout(0.25)(halve(x))
    x = layers.Dense(256, activation="relu")(layers.Flatten()(x))
    return layers.Dropout(0.5)(x)


SPEC = network(body, Recipe(epochs=12, least_steps=ENOUGH, peak=1e-3, schedule=one_cycle, warp=Warp()), seconds=450)

# As the tutorials train it, but for the plateau rule, which watches held-out rows.
TUTORIAL = replace(CUSTOMARY, batch=86, schedule=halving)
VARIANTS = {
    "tutorial": replace(SPEC, recipe=TUTORIAL, seconds=1800),
    "rmsprop": replace(SPEC, recipe=replace(TUTORIAL, optimizer="rmsprop"), seconds=1800),
}
