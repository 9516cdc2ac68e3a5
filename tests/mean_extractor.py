"""A pretrained network of one operation, which workers can import."""

from dataclasses import dataclass

import numpy as np

from competition.models.pretrained.extractor import Extractor


@dataclass(frozen=True)
class MeanExtractor(Extractor):
    """Mean of the left half of an image, in each of 1,280 features."""

    size: int = 32

    def extract(self, images):
        means = [half.mean(axis=(1, 2, 3)) for half in (images[:, :, :16], images[:, :, 16:])]
        return np.repeat(np.stack(means, axis=1)[..., None], 1280, axis=2).astype(np.float16)
