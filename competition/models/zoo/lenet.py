"""lenet: two 3x3 convolutions with pooling, a dense layer, dropout: the tutorials' first convolutional network.

99.11 % out of fold on `digits`.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from competition.data.augmentation import Warp
from competition.models.networks.recipe import ENOUGH, Recipe, one_cycle
from competition.models.networks.spec import network

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


def body(x: Any) -> Any:
    """32 and 64 filters, each halved, then 128 units."""
    from keras import layers

    from competition.models.networks.layers import halve

    for filters in (32, 64):
        x = halve(layers.Conv2D(filters, 3, padding="same", activation="relu")(x))
    x = layers.Dense(128, activation="relu")(layers.Flatten()(x))
    return layers.Dropout(0.5)(x)


def search(trial: "BaseTrial") -> None:
    """The tutorials change no images, so there is no warp to tune."""
    trial.suggest_float("peak", 1e-4, 3e-2, log=True)
    trial.suggest_float("weight_decay", 0.0, 0.05)
    trial.suggest_float("smoothing", 0.0, 0.2)


SPEC = network(
    body,
    Recipe(epochs=8, least_steps=ENOUGH, peak=2e-3, schedule=one_cycle, warp=Warp()),
    seconds=35,
)
VARIANTS = {"tutorial": replace(SPEC, recipe=Recipe(epochs=15, precision="float32"), search=search, seconds=70)}
