"""finetuned: EfficientNet-Lite0, pretrained on ImageNet, whose second half is fine-tuned on photographs.

The first half of its blocks stays as it is, which saves time and some of the overfitting. Small images are enlarged by
a whole factor, since the network halves them five times. With 55x42 pixels: 3.4 million parameters, of
which 3.1 are trained, 83 million multiply-adds.
"""

from dataclasses import replace
from typing import Any

from competition.models.networks.recipe import TUNED_RECIPE, UNSHIFTED
from competition.models.networks.spec import network_spec

FROZEN_BLOCKS = 8  # of 16


def body(x: Any) -> Any:
    """Reduce the images, e.g. of 110x84 pixels, to 1,280 features."""
    from keras import layers

    from competition.models.pretrained.fine_tuning import fine_tuned_features
    from competition.models.pretrained.weights import downloaded_weights

    if x.shape[-1] == 1:
        x = layers.Concatenate()([x, x, x])
    if (factor := SPEC.enlargement(*x.shape[1:3])) > 1:
        x = layers.UpSampling2D(factor, interpolation="bilinear", dtype="float32")(x)
    return layers.Dropout(0.2)(fine_tuned_features(x, downloaded_weights(), FROZEN_BLOCKS))


RECIPE = replace(
    TUNED_RECIPE,
    epochs=12,
    min_steps=1_250,  # 20 epochs of 2,000 rows
    batch_size=32,
    peak_learning_rate=0.003,
    crop_border=False,
    shifts=(UNSHIFTED,),
)
SPEC = replace(network_spec(body, RECIPE, seconds=150), is_fine_tuned=True, smallest_side=96)
