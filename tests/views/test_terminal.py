from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from competition.crossval.curves import EpochDone
from competition.crossval.folds import make_folds
from competition.crossval.predictions import CurvePoint, Predictions
from competition.crossval.progress import Progress
from competition.crossval.store import Store
from competition.crossval.task import Task
from competition.ensemble.advice import measure_contributions
from competition.ensemble.blend import BlendSearch, blend
from competition.ensemble.blenders import blender_names
from competition.models.member import Member
from competition.scoring.losses import loss_name
from competition.scoring.metrics import ACCURACY, LOG_LOSS, RMSE, find_metric
from competition.tuning.validation import ValidationResult
from competition.views.terminal import live, scores, screen, searches
from competition.workers.events import Started
from competition.workers.local import LocalWorkers


def render(renderable) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


@pytest.mark.parametrize("kind", ["labels", "number"])
def test_tables_of_label_sets_and_numbers_show_their_metrics(kind, label_dataset, number_dataset):
    dataset, metric = (label_dataset, LOG_LOSS) if kind == "labels" else (number_dataset, RMSE)
    random, true = np.random.default_rng(0), dataset.labels.reshape(len(dataset.labels), -1).astype(float)
    members = []
    for name, noise in (("mlp", 0.2), ("lenet", 0.3)):
        oof = true + random.normal(0, noise, true.shape)
        oof = oof if kind == "number" else np.clip(oof, 0.05, 0.95)
        members.append(Predictions(name, oof, np.stack([oof[:20]] * 3), 60.0, ""))
    held_out, labels = np.arange(len(true)) % 3, dataset.labels
    chosen = blend(members, labels, held_out, "convex")
    others = [blend(members, labels, held_out, name) for name in blender_names(kind)]
    contributions = measure_contributions(BlendSearch(members, labels, held_out), chosen)
    text = render(scores.score_table(members, labels, metric)) + render(
        scores.blend_table(chosen, others, labels, metric)
    )
    table = render(scores.contribution_table(contributions, loss_name(labels)))
    if kind == "number":
        assert "RMSE" in text and "MAE" in text and "accuracy" not in text + table and "newly wrong" not in text
        assert "squared error reduction" in table
    else:
        assert "accuracy" in text and "newly wrong" in text and "log loss reduction" in table


def test_the_table_of_blends_shows_the_score_of_the_most_probable_labels(label_dataset):
    rng, labels, metric = np.random.default_rng(0), label_dataset.labels, find_metric("macro F1")
    oof = np.clip(0.2 + 0.2 * labels + rng.normal(0, 0.1, labels.shape), 0.05, 0.95)
    members = [Predictions(name, oof, oof[None], 60.0, "") for name in ("mlp", "lenet")]
    mean = blend(members, labels, np.arange(len(labels)) % 3, "mean", label_metric=metric)
    text = render(scores.blend_table(mean, [mean], labels, metric))
    submitted, most_probable = (metric.format(metric.score(labels, each)) for each in (mean.submitted_oof, mean.oof))
    assert submitted != most_probable and f"submitted: mean, macro F1 {submitted}" in text
    assert f"its labels have the highest expected macro F1; the most probable ones score {most_probable}" in text


def test_the_table_shows_each_model(dataset, tmp_path):
    members = [Member.parse("knn"), Member.parse("mlp")]
    progress = Progress(Store(tmp_path, dataset, make_folds(dataset, 2, 0)), members, LocalWorkers(2), ACCURACY)
    progress.update(Started(Task(members[1], 1)))
    point = CurvePoint(2, 5, 0.25, 1234.5, 3 * 2**29, 0.99, 0.1, 0.975, 0.2)
    progress.update(EpochDone(Task(members[1], 1), point))
    progress.update(Started(Task(members[0], 0)))
    table = render(live.progress_table(progress))
    assert table.count("0/2") == 2 and "time left" in table
    (fold_0,) = (line for line in table.splitlines() if "fold 0" in line)
    (fold_1,) = (line for line in table.splitlines() if "fold 1" in line)
    assert "started" in fold_0
    assert fold_1.split()[2:10] == ["epoch", "2/5", "97.5", "%", "accuracy", "0.250", "1,234", "1.5"]


def test_the_table_of_scores_has_the_best_first(dataset):
    correct = np.eye(10)[dataset.labels] * 0.9 + 0.01
    bad = Predictions("bad", np.roll(correct, 1, axis=1), correct[None], 5.0, "")
    members = [bad, Predictions("good", correct, correct[None], 65.0, "")]
    text = render(scores.score_table(members, dataset.labels, ACCURACY))
    assert text.index("good") < text.index("bad") and "1:05" in text and "100.000 ± 0.167 %" in text
    assert "columns" not in text
    text = render(scores.score_table(members, dataset.labels, ACCURACY, from_columns=["good", "incomplete"]))
    assert "trained on the columns alongside the images: good" in text and "incomplete" not in text


def test_names_with_brackets_are_printed_as_they_are():
    with screen.console.capture() as capture:
        screen.console.print("class [red], IMG[copy].jpg, [/x]")
    assert capture.get() == "class [red], IMG[copy].jpg, [/x]\n"


def test_hyperparameters_may_be_texts(dataset):
    search = SimpleNamespace(context=SimpleNamespace(dataset=dataset), study=SimpleNamespace(current={"C": 1.0}))
    result = ValidationResult({"C": 0.123456, "scaling": "ranks"}, 7, 0.1, 0.2, -0.1, 0.01, 3, 9, 0.001, 0.05, 1.0)
    text = render(searches.validation_table(search, [result]))
    assert "current: C 1 " in text and "trial 7: C 0.1235, scaling ranks" in text and "significant" in text
