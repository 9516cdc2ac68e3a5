"""Predictions of a submission's blend for single images, fast enough to follow each pen stroke."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from competition.crossval.store import Store
from competition.data.images import ImageFormat, resize_image
from competition.deploy.predict import fit_blend
from competition.ensemble.blend import choose_labels, combine_models
from competition.models.interface import Inputs
from competition.models.member import Member
from competition.models.pretrained.extractor import Extractor
from competition.scoring.metrics import Metric
from competition.views.html import image_class, image_data_url
from competition.workers.machine import silenced_stderr

FOLD = 0  # one model per member predicts; all of them would take several times as long


class BlendPredictor:
    """The loaded models of the members with a weight, and how to combine them."""

    def __init__(
        self,
        store: Store,
        members: Sequence[Member],
        blender: str,
        extractor: Extractor | None = None,
        label_metric: Metric | None = None,
    ) -> None:
        self.extractor = extractor
        self.blend = fit_blend(store, members, blender, label_metric)
        self.members = members
        weighted = self.blend.positions
        store.require_image_models(list(weighted))
        self.inputs = {member: self.blend.inputs[number] for member, number in weighted.items()}
        self.format = ImageFormat.infer(store.dataset.images)
        self.classes = [str(name) for name in store.dataset.classes]
        self.lock = threading.Lock()
        with silenced_stderr():
            self.models = {member: store.load_model(member, FOLD) for member in weighted}
            self.predict(Image.new("L", (28, 28)))  # trace the graphs now, not on the first stroke

    def predict(self, drawing: Image.Image) -> dict[str, Any]:
        """Return the blend's and each member's prediction, and the image that the models received."""
        start = time.perf_counter()
        image = self.format.convert(drawing)
        with self.lock:
            inputs = self._prepare_inputs(drawing, image)
            predictions = {
                member: model.predict_proba(inputs[self.inputs[member]]) for member, model in self.models.items()
            }
        uniform = np.full((1, len(self.classes)), 1 / len(self.classes))  # for members without a weight
        stack = [predictions.get(member, uniform)[None] for member in self.members]
        blended, decision = combine_models(self.blend.combination, stack)[0], self.blend.decision
        submitted = choose_labels(self.blend.combination, stack, decision)[0] if decision else blended
        return {
            "label": self.classes[int(submitted.argmax())],
            "probabilities": dict(zip(self.classes, blended.round(5).tolist(), strict=True)),
            "votes": {member.name: self._vote(rows[0]) for member, rows in predictions.items()},
            "model_input": image_data_url(image),
            "image_class": image_class(image),
            "is_empty": not np.ptp(image),
            "milliseconds": round(1000 * (time.perf_counter() - start), 1),
        }

    def _prepare_inputs(self, drawing: Image.Image, image: np.ndarray) -> dict[Inputs, np.ndarray]:
        """What models learn from: the image in the format of the training images, and pretrained features."""
        if not self.extractor:
            return {"images": image[None]}
        square = resize_image(drawing.convert("RGB"), self.extractor.size, self.extractor.size)
        return {"images": image[None], "features": self.extractor.extract(square[None])}

    def _vote(self, probabilities: np.ndarray) -> dict[str, Any]:
        best = int(probabilities.argmax())
        return {"label": self.classes[best], "probability": round(float(probabilities[best]), 5)}
