"""finetuned: EfficientNet-Lite0, pretrained on ImageNet, whose last blocks are trained further on photographs.

The first half of its blocks stays as it is, which saves time and some of the overfitting. Small images are enlarged by
a whole factor, since the network halves them five times. With 55x42 pixels: 3.4 million parameters, of
which 3.1 are trained, 83 million multiply-adds.
"""

from dataclasses import replace
from typing import Any

from competition.models.networks.recipe import TUNED_RECIPE, UNSHIFTED
from competition.models.networks.spec import network_spec, with_epochs

FROZEN_BLOCKS = 8  # of 16
SMALLEST_SIDE = 96  # pixels of the longer side that the network gets


def body(x: Any) -> Any:
    """Reduce the images, e.g. of 110x84 pixels, to 1,280 features."""
    from keras import layers

    from competition.models.pretrained.efficientnet_lite import trainable_features
    from competition.models.pretrained.weights import load_weights

    if x.shape[-1] == 1:
        x = layers.Concatenate()([x, x, x])
    if (factor := -(-SMALLEST_SIDE // max(x.shape[1:3]))) > 1:
        x = layers.UpSampling2D(factor, interpolation="bilinear", dtype="float32")(x)
    return layers.Dropout(0.2)(trainable_features(x, load_weights(), FROZEN_BLOCKS))


RECIPE = replace(
    TUNED_RECIPE,
    epochs=12,
    min_steps=1_250,  # 20 epochs of 2,000 rows
    batch_size=32,
    peak_learning_rate=0.003,
    crop_border=False,
    shifts=(UNSHIFTED,),
)
SPEC = replace(network_spec(body, RECIPE, seconds=1_000), is_pretrained=True)
VARIANTS = {"short": with_epochs(SPEC, 6)}  # for what is left of a budget
