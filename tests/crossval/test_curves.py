import numpy as np
import pytest

from competition.crossval.curves import MAX_ROWS, CurveRecorder
from competition.crossval.folds import make_folds
from competition.models.interface import Epoch


def test_a_curve_separates_training_rows_from_held_out_rows(dataset):
    held_out = make_folds(dataset, 3, 0).held_out == 0
    memory = {image.tobytes(): label for image, label in zip(dataset.images, dataset.labels, strict=True)}
    held_out_images = {image.tobytes() for image in dataset.images[held_out]}
    wrong = (dataset.labels + 1) % 10

    def memorize(images):
        labels = [(memory[image.tobytes()] + (image.tobytes() in held_out_images)) % 10 for image in images]
        return np.eye(10)[labels] * 0.9 + 0.01

    assert (memorize(dataset.images[held_out]).argmax(axis=1) == wrong[held_out]).all()
    recorder = CurveRecorder(dataset, held_out)
    for done in (1, 2):
        point = recorder.record(Epoch(done, 2, 0.5, 100.0, memorize))
    assert point.train_accuracy == 1 and point.held_out_accuracy == 0
    assert point.train_log_loss == pytest.approx(-np.log(0.91), abs=1e-3) and point.held_out_log_loss > 4
    assert point.memory > 2**20 and [point.epoch for point in recorder.points] == [1, 2]


def test_each_epoch_is_evaluated_on_the_same_rows(dataset):
    evaluated = []

    def predict_uniform(images):
        evaluated.append(images)
        return np.full((len(images), 10), 0.1)

    held_out = make_folds(dataset, 3, 0).held_out == 1
    recorder = CurveRecorder(dataset, held_out)
    for done in (1, 2):
        recorder.record(Epoch(done, 2, 0.5, 100.0, predict_uniform))
    assert [len(images) for images in evaluated] == [
        min(MAX_ROWS, int(subset.sum())) for subset in (~held_out, held_out)
    ] * 2
    assert (evaluated[0] == evaluated[2]).all() and (evaluated[1] == evaluated[3]).all()
