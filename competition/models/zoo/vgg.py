"""vgg: the VGG-like network of many Kaggle tutorials: two 5x5 and two 3x3 convolutions, then a dense layer."""

from dataclasses import replace
from typing import Any

from competition.data.augmentation import Augmentation
from competition.models.networks.recipe import MIN_STEPS, TUTORIAL_RECIPE, Recipe, one_cycle, step_decay
from competition.models.networks.spec import network_spec


def body(x: Any) -> Any:
    """Two 5x5 convolutions of 32 filters, two 3x3 of 64, with pooling and dropout after each pair; then 256 units."""
    from keras import layers

    from competition.models.networks.layers import max_pool

    for filters, size in ((32, 5), (64, 3)):
        for _ in range(2):
            x = layers.Conv2D(filters, size, padding="same", activation="relu")(x)
        x = layers.Dropout(0.25)(max_pool(x))
    x = layers.Dense(256, activation="relu")(layers.Flatten()(x))
    return layers.Dropout(0.5)(x)


SPEC = network_spec(
    body,
    Recipe(epochs=12, min_steps=MIN_STEPS, peak_learning_rate=1e-3, schedule=one_cycle, augmentation=Augmentation()),
    seconds=350,
)

# The tutorials' recipe, except for ReduceLROnPlateau, which would need held-out rows.
VGG_TUTORIAL_RECIPE = replace(TUTORIAL_RECIPE, batch_size=86, schedule=step_decay)
VARIANTS = {
    "tutorial": replace(SPEC, recipe=VGG_TUTORIAL_RECIPE, seconds=1450),
    "rmsprop": replace(SPEC, recipe=replace(VGG_TUTORIAL_RECIPE, optimizer="rmsprop"), seconds=1450),
}
