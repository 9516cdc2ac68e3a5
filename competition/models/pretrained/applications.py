"""The networks of `keras.applications`. Importing this module does not import Keras."""

import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from competition.errors import UserError, first_line
from competition.files import scratch_folder, write_atomically

DOWNLOAD = """
import sys
import keras
keras.config.disable_interactive_logging()
getattr(keras.applications, sys.argv[1])(include_top=False).save_weights(sys.argv[2])
"""


class Application(NamedTuple):
    """A network, as its weights of ImageNet expect it."""

    module: str  # of keras.applications, for the normalization of pixels
    size: int  # of the images
    dimensions: int  # of the features


APPLICATIONS = {
    "ConvNeXtTiny": Application("convnext", 224, 768),
    "ConvNeXtSmall": Application("convnext", 224, 768),
    "ConvNeXtBase": Application("convnext", 224, 1024),
    "ConvNeXtLarge": Application("convnext", 224, 1536),
    "DenseNet121": Application("densenet", 224, 1024),
    "DenseNet169": Application("densenet", 224, 1664),
    "DenseNet201": Application("densenet", 224, 1920),
    "EfficientNetB0": Application("efficientnet", 224, 1280),
    "EfficientNetB1": Application("efficientnet", 240, 1280),
    "EfficientNetB2": Application("efficientnet", 260, 1408),
    "EfficientNetB3": Application("efficientnet", 300, 1536),
    "EfficientNetB4": Application("efficientnet", 380, 1792),
    "EfficientNetB5": Application("efficientnet", 456, 2048),
    "EfficientNetV2B0": Application("efficientnet_v2", 224, 1280),
    "EfficientNetV2B1": Application("efficientnet_v2", 240, 1280),
    "EfficientNetV2B2": Application("efficientnet_v2", 260, 1408),
    "EfficientNetV2B3": Application("efficientnet_v2", 300, 1536),
    "EfficientNetV2S": Application("efficientnet_v2", 384, 1280),
    "EfficientNetV2M": Application("efficientnet_v2", 480, 1280),
    "InceptionV3": Application("inception_v3", 299, 2048),
    "MobileNet": Application("mobilenet", 224, 1024),
    "MobileNetV2": Application("mobilenet_v2", 224, 1280),
    "MobileNetV3Large": Application("mobilenet_v3", 224, 960),
    "MobileNetV3Small": Application("mobilenet_v3", 224, 576),
    "NASNetMobile": Application("nasnet", 224, 1056),
    "ResNet50": Application("resnet", 224, 2048),
    "ResNet101": Application("resnet", 224, 2048),
    "ResNet50V2": Application("resnet_v2", 224, 2048),
    "ResNet101V2": Application("resnet_v2", 224, 2048),
    "VGG16": Application("vgg16", 224, 512),
    "VGG19": Application("vgg19", 224, 512),
    "Xception": Application("xception", 299, 2048),
}


def download_weights(name: str, downloads: Path) -> Path:
    """The weights of ImageNet without the classifier, in a file that Keras downloads and writes once."""
    target = downloads / f"{name}-imagenet.weights.h5"
    if target.exists():
        return target
    with scratch_folder() as temporary:
        file = temporary / target.name
        process = subprocess.run(
            [sys.executable, "-c", DOWNLOAD, name, file], capture_output=True, text=True, check=False
        )
        if process.returncode:
            lines = process.stderr.strip().splitlines() or [f"exit status {process.returncode}"]
            raise UserError(
                f"Keras could not download the weights of {name}: {lines[-1]}; try again when online, or set `weights` "
                f"to a file that `keras.applications.{name}(include_top=False).save_weights` wrote"
            )
        write_atomically(target, file.read_bytes())
    return target


def build_application(name: str, weights: Path, size: int, precision: str) -> Any:
    """The network from uint8 images (rows, size, size, 3) to float32 features."""
    import keras
    from keras import layers, ops

    class Normalization(layers.Layer):
        """The normalization of pixels that belongs to the network."""

        def call(self, images: Any) -> Any:
            """The images in float32, as the network expects them."""
            module = getattr(keras.applications, APPLICATIONS[name].module)
            return module.preprocess_input(ops.cast(images, "float32"))

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(f"mixed_{precision}" if precision != "float32" else "float32")
    try:
        shape = (size, size, 3)
        network = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=shape)
        network.load_weights(weights)
    except Exception as error:  # of h5py or Keras
        reason = first_line(error)
        raise UserError(
            f"cannot load {weights} into {name} without its classifier ({reason}); expected a file that "
            f"`keras.applications.{name}(include_top=False).save_weights` wrote"
        ) from None
    finally:
        keras.config.set_dtype_policy(policy)
    images = keras.Input(shape, dtype="uint8")
    features = network(Normalization(dtype="float32")(images))
    return keras.Model(images, layers.GlobalAveragePooling2D(dtype="float32")(features))
