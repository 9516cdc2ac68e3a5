import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler

from competition.crossval.folds import make_folds
from competition.data.config import Config
from competition.models.member import Member
from competition.scoring.metrics import ACCURACY
from competition.tuning.search import Search, SearchContext, schedule_searches
from competition.tuning.storage import open_storage
from competition.tuning.validation import best_validated
from competition.workers.events import ignore_event
from competition.workers.local import LocalWorkers


@pytest.fixture
def context(dataset, tmp_path):
    folds, validation_folds = make_folds(dataset, 5, 0), make_folds(dataset, 5, 1)
    with open_storage(None, tmp_path) as storage:
        yield SearchContext("digits8", Config(), dataset, storage, folds, validation_folds, ACCURACY, LocalWorkers(2))


def search_and_validate(context, member, trials):
    search = Search(context, member, trials)
    list(search.run(trials, math.inf, ignore_event))
    list(search.validate_candidates(ignore_event))
    return search.validation_results()


def svm(c):
    member = Member.parse("svm")
    return replace(member, recipe=replace(member.recipe, c=c))


@pytest.mark.slow
def test_a_much_too_small_c_is_improved(context):
    best = best_validated(search_and_validate(context, svm(0.01), 6))
    assert best and best.hyperparameters["c"] > 0.1 and best.wrong < best.current_wrong


@pytest.mark.slow
def test_a_good_c_is_kept(context):
    assert best_validated(search_and_validate(context, svm(5.0), 12)) is None


@pytest.mark.slow
def test_a_learning_rate_that_is_ten_times_too_low_is_improved(context):
    mlp = Member.parse("mlp")
    best = best_validated(
        search_and_validate(context, replace(mlp, recipe=replace(mlp.recipe, peak_learning_rate=1e-4)), 12)
    )
    assert best and best.hyperparameters["peak_learning_rate"] > 5e-4


def test_no_trial_is_started_that_cannot_be_validated_in_time(context):
    search = Search(context, Member.parse("knn"), 5)
    end = time.monotonic() + search.validation_seconds() + search.study.trial_seconds() / 2
    for scheduled, trials, deadline in schedule_searches([search], end):
        assert list(scheduled.run(trials, deadline, ignore_event)) == []
    assert search.trial_count == 0


@pytest.mark.slow
def test_searches_are_scheduled_by_cost_first_and_then_by_expected_gain(context, monkeypatch):
    searches = [Search(context, Member.parse(name), 100) for name in ("svm", "knn", "linear")]
    order = []
    for search, _, _ in schedule_searches(searches, math.inf):
        order.append(search.member.name)
        list(search.run(1, math.inf, ignore_event))
        if len(order) == 3:
            break
    assert sorted(order) == ["knn", "linear", "svm"] and order[0] == "knn"
    rates = [search.expected_gain_rate() for search in searches]
    scheduled, *_ = next(schedule_searches(searches, math.inf))
    assert scheduled is searches[rates.index(max(rates))]


@pytest.mark.integration
def test_expected_gain_is_proportional_to_the_weight_in_the_blend(context):
    light, heavy = (Search(context, Member.parse("knn"), 1, weight) for weight in (0.05, 0.5))
    list(light.run(1, math.inf, ignore_event))
    assert heavy.expected_gain_rate() == pytest.approx(10 * light.expected_gain_rate())


@pytest.mark.slow
def test_a_search_is_no_worse_than_random_search_in_the_same_time(dataset, tmp_path):
    gains = []
    for seed in range(5):
        best = {}
        for method in ("random", "search"):
            splits = make_folds(dataset, 5, seed), make_folds(dataset, 5, 9)
            with open_storage(None, tmp_path / f"{method}-{seed}") as storage:
                context = SearchContext("digits8", Config(), dataset, storage, *splits, ACCURACY, LocalWorkers(2))
                search = Search(context, Member.parse("svm"), 1_000)
                if method == "random":
                    search.study.optuna_study.sampler = RandomSampler(seed=seed)
                    search.study.optuna_study.pruner = NopPruner()
                list(search.run(1_000, time.monotonic() + 20, ignore_event))
                best[method] = search.study.complete_trials[0].value
                print(f"seed {seed}, {method}: {best[method]:.4f} in {search.trial_count} trials")
        gains.append(best["random"] - best["search"])
    error = np.std(gains, ddof=1) / np.sqrt(len(gains))
    assert np.mean(gains) > -error, gains


@pytest.fixture
def postgresql(tmp_path):
    """The URL of a PostgreSQL server that runs for this test."""
    initdb = shutil.which("initdb") or next((ROOT / "/usr/lib/postgresql").glob("*/bin/initdb"), None)
    if not initdb:
        pytest.skip("PostgreSQL is not installed")
    folder = tmp_path / "postgresql"
    folder.mkdir()
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    if user:
        for parent in (folder, *folder.parents):
            if parent.owner() == "root" and parent.stat().st_mode & 0o777 == 0o700:
                parent.chmod(0o711)
        shutil.chown(folder, user)
    binaries = os.path.realpath(initdb).removesuffix("/initdb")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    cluster = folder / "cluster"
    create = [initdb, "-D", cluster, "-U", "tester", "-A", "trust", "-N"]
    subprocess.run(create, cwd=folder, user=user, check=True, capture_output=True)
    command = [f"{binaries}/postgres", "-D", cluster, "-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1"]
    with subprocess.Popen(
        command, cwd=folder, user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield f"postgresql+psycopg://tester@127.0.0.1:{port}/postgres"
        server.send_signal(signal.SIGINT)  # does not wait for open connections


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["local", "cluster"])
def test_two_drivers_share_a_study_without_repeating_trials(
    workers, postgresql, empty_cluster, tmp_path, competition_copy, context
):
    arguments = [sys.executable, "-m", "competition", "tune", "--competition", "digits8", "--folds", "5", "--jobs", "1"]
    arguments += ["--models", "knn", "--trials", "12", "--storage", postgresql]
    if workers == "cluster":
        for _ in range(2):
            empty_cluster.start()
        arguments += ["--cluster", empty_cluster.address]
    drivers = []
    for name in ("one", "two"):  # as on two machines with separate folders
        (tmp_path / name).mkdir()
        (tmp_path / name / "data").symlink_to(tmp_path / "data")
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        drivers.append(
            subprocess.Popen(arguments, cwd=tmp_path / name, env=environment, stdout=subprocess.PIPE, text=True)
        )
    outputs = [driver.communicate(timeout=300)[0] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], outputs
    with open_storage(postgresql, tmp_path) as storage:
        search = Search(replace(context, storage=storage), Member.parse("knn"), 12)
        trials = search.study.trials
        assert 12 <= len(trials) <= 13 and all(trial.state.is_finished() for trial in trials)
        assert len({str(sorted(trial.params.items())) for trial in trials}) == len(trials)
        ended = [
            [line.split(":")[0] for line in text.splitlines() if line.startswith("knn trial") and " time left " in line]
            for text in outputs
        ]
        assert all(ended), "one driver ran all trials"
        assert set(ended[0]).isdisjoint(ended[1]), "both drivers ran the same trial"
        assert outputs[0].splitlines()[-1] == outputs[1].splitlines()[-1], "they decided differently"
