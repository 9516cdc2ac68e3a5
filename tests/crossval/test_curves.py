import numpy as np
import pytest

from competition.crossval.curves import WATCHED, Watch
from competition.crossval.folds import split
from competition.models.interface import Epoch


def test_a_curve_tells_what_is_known_by_heart_from_what_is_understood(dataset):
    held_out = split(dataset, 3, 0).held_out == 0
    memory = {image.tobytes(): label for image, label in zip(dataset.images, dataset.labels, strict=True)}
    forgotten = {image.tobytes() for image in dataset.images[held_out]}
    wrong = (dataset.labels + 1) % 10

    def by_heart(images):
        said = [(memory[one.tobytes()] + (one.tobytes() in forgotten)) % 10 for one in images]
        return np.eye(10)[said] * 0.9 + 0.01

    assert (by_heart(dataset.images[held_out]).argmax(axis=1) == wrong[held_out]).all()
    watch = Watch(dataset, held_out)
    for done in (1, 2):
        point = watch.look(Epoch(done, 2, 0.5, 100.0, by_heart))
    assert point.taught_accuracy == 1 and point.held_out_accuracy == 0
    assert point.taught_log_loss == pytest.approx(-np.log(0.91), abs=1e-3) and point.held_out_log_loss > 4
    assert point.memory > 2**20 and [one.epoch for one in watch.points] == [1, 2]


def test_the_same_few_rows_are_looked_at_each_time(dataset):
    seen = []

    def said(images):
        seen.append(images)
        return np.full((len(images), 10), 0.1)

    held_out = split(dataset, 3, 0).held_out == 1
    watch = Watch(dataset, held_out)
    for done in (1, 2):
        watch.look(Epoch(done, 2, 0.5, 100.0, said))
    assert [len(images) for images in seen] == [min(WATCHED, int(part.sum())) for part in (~held_out, held_out)] * 2
    assert (seen[0] == seen[2]).all() and (seen[1] == seen[3]).all()
