import numpy as np
from rich.console import Console

from competition.crossval.curves import EpochDone
from competition.crossval.folds import make_folds
from competition.crossval.predictions import CurvePoint, Predictions
from competition.crossval.progress import Progress
from competition.crossval.store import Store
from competition.crossval.task import Task
from competition.models.member import Member
from competition.scoring.metrics import ACCURACY
from competition.views.terminal import live, scores
from competition.workers.events import Started
from competition.workers.local import LocalWorkers


def render(renderable) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


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


def test_the_leaderboard_puts_the_best_first(dataset):
    correct = np.eye(10)[dataset.labels] * 0.9 + 0.01
    bad = Predictions("bad", np.roll(correct, 1, axis=1), correct[None], 5.0, "")
    members = [bad, Predictions("good", correct, correct[None], 65.0, "")]
    text = render(scores.leaderboard_table(members, dataset.labels, ACCURACY))
    assert text.index("good") < text.index("bad") and "1:05" in text and "100.000 ± 0.167 %" in text
    assert "columns" not in text
    text = render(scores.leaderboard_table(members, dataset.labels, ACCURACY, ["good", "incomplete"]))
    assert "trained on the columns beside the images: good" in text and "incomplete" not in text
