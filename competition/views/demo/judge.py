"""What a submission's members say of one picture, soon enough to answer each stroke."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from competition.crossval.store import Store
from competition.data.pictures import Form
from competition.deploy.predict import learned
from competition.models.member import Member
from competition.views.report.gallery import picture

FOLD = 0  # one model of each kind answers; all folds' would take five times as long


@contextmanager
def _muttering_unheard() -> Iterator[None]:
    """Keep off the terminal what TensorFlow's C++ writes when it is loaded; exceptions are not touched."""
    stderr = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nothing)


class Judge:
    """The members that count, loaded, and how they are blended."""

    def __init__(self, store: Store, members: Sequence[Member], blender: str) -> None:
        self.combination = learned(store, members, blender)
        self.members = members
        counted = zip(members, self.combination.weights, strict=True)
        self.form = Form.measured(store.dataset.images)
        self.classes = [str(name) for name in store.dataset.classes]
        self.busy = threading.Lock()
        with _muttering_unheard():
            self.models = {member: store.kept(member, FOLD) for member, weight in counted if weight}
            self.answer(Image.new("L", (28, 28)))  # so that the first stroke does not wait for graphs to be traced

    def answer(self, drawing: Image.Image) -> dict[str, Any]:
        """The blend's word, each member's, and the picture as they saw it."""
        start = time.perf_counter()
        seen = self.form.take(drawing)
        with self.busy:
            said = {member: model.predict_proba(seen[None]) for member, model in self.models.items()}
        guess = np.full((1, len(self.classes)), 1 / len(self.classes))
        blended = self.combination.combine(np.stack([said.get(member, guess) for member in self.members]))[0]
        return {
            "label": self.classes[int(blended.argmax())],
            "probabilities": dict(zip(self.classes, blended.round(5).tolist(), strict=True)),
            "votes": {member.name: self._vote(one[0]) for member, one in said.items()},
            "seen": picture(seen),
            "is_empty": not seen.any(),
            "milliseconds": round(1000 * (time.perf_counter() - start), 1),
        }

    def _vote(self, said: np.ndarray) -> dict[str, Any]:
        return {"label": self.classes[int(said.argmax())], "probability": round(float(said.max()), 5)}
