"""lenet: the first CNN of many tutorials: two 3x3 convolutions with pooling, a dense layer, dropout.

Out-of-fold accuracy: 99.04 % on `digits`.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from competition.data.augmentation import Augmentation
from competition.models.networks.recipe import MIN_STEPS, Recipe, one_cycle
from competition.models.networks.spec import network_spec

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


def body(x: Any) -> Any:
    """Convolutions with 32 and 64 filters, each followed by pooling, then 128 units."""
    from keras import layers

    from competition.models.networks.layers import max_pool

    for filters in (32, 64):
        x = max_pool(layers.Conv2D(filters, 3, padding="same", activation="relu")(x))
    x = layers.Dense(128, activation="relu")(layers.Flatten()(x))
    return layers.Dropout(0.5)(x)


def search_space(trial: "BaseTrial") -> None:
    """Suggest hyperparameters of the tutorial variant, which has no augmentation."""
    trial.suggest_float("peak_learning_rate", 1e-4, 3e-2, log=True)
    trial.suggest_float("weight_decay", 0.0, 0.05)
    trial.suggest_float("label_smoothing", 0.0, 0.2)


SPEC = network_spec(
    body,
    Recipe(epochs=8, min_steps=MIN_STEPS, peak_learning_rate=2e-3, schedule=one_cycle, augmentation=Augmentation()),
    seconds=27,
)
TUTORIAL = replace(
    SPEC, recipe=Recipe(epochs=15, crop_border=False, precision="float32"), search_space=search_space, seconds=54
)
VARIANTS = {"tutorial": TUTORIAL}
