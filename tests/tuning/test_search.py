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

from competition.crossval.folds import split
from competition.data.config import Rules
from competition.models.member import Member
from competition.scoring.metrics import ACCURACY
from competition.tuning.search import Place, Search, turns
from competition.tuning.storage import open_storage
from competition.tuning.validation import winner
from competition.workers.local import LocalWorkers


@pytest.fixture
def place(dataset, tmp_path):
    folds, other = split(dataset, 5, 0), split(dataset, 5, 1)
    with open_storage(None, tmp_path) as storage:
        yield Place("digits8", ACCURACY, Rules(), dataset, folds, other, LocalWorkers(2), storage)


def deaf(*said):
    pass


def verdicts(place, member, trials):
    search = Search(place, member, trials)
    list(search.run(trials, math.inf, deaf))
    list(search.judge(deaf))
    return search.verdicts()


def svm(c):
    member = Member.named("svm")
    return replace(member, recipe=replace(member.recipe, c=c))


@pytest.mark.slow
def test_a_margin_that_is_much_too_soft_is_found_out(place):
    proved = winner(verdicts(place, svm(0.01), 6))
    assert proved and proved.settings["c"] > 0.1 and proved.wrong < proved.present_wrong


@pytest.mark.slow
def test_a_good_margin_is_kept(place):
    assert winner(verdicts(place, svm(5.0), 12)) is None


@pytest.mark.slow
def test_a_rate_that_is_ten_times_too_low_is_found_out(place):
    mlp = Member.named("mlp")
    proved = winner(verdicts(place, replace(mlp, recipe=replace(mlp.recipe, peak=1e-4)), 12))
    assert proved and proved.settings["peak"] > 5e-4


def test_what_cannot_be_finished_and_judged_in_time_is_not_begun(place):
    search = Search(place, Member.named("knn"), 5)
    soon = time.monotonic() + search.judging_seconds() + search.study.trial_seconds() / 2
    for chosen, trials, until in turns([search], soon):
        assert list(chosen.run(trials, until, deaf)) == []
    assert search.tried == 0


@pytest.mark.slow
def test_the_turn_is_the_cheapest_ones_first_and_then_where_most_is_gained_for_a_minute(place, monkeypatch):
    searches = [Search(place, Member.named(name), 100) for name in ("svm", "knn", "linear")]
    order = []
    for search, _, _ in turns(searches, math.inf):
        order.append(search.member.name)
        list(search.run(1, math.inf, deaf))
        if len(order) == 3:
            break
    assert sorted(order) == ["knn", "linear", "svm"] and order[0] == "knn"
    promises = [search.promise() for search in searches]
    chosen, *_ = next(turns(searches, math.inf))
    assert chosen is searches[promises.index(max(promises))]


def test_a_heavier_member_of_the_blend_promises_more(place):
    light, heavy = (Search(place, Member.named("knn"), 1, weight) for weight in (0.05, 0.5))
    list(light.run(1, math.inf, deaf))
    assert heavy.promise() == pytest.approx(10 * light.promise())


@pytest.mark.slow
def test_a_search_finds_no_less_than_guessing_does_in_the_same_time(dataset, tmp_path):
    gained = []
    for seed in range(5):
        best = {}
        for how in ("guessing", "searching"):
            splits = split(dataset, 5, seed), split(dataset, 5, 9)
            with open_storage(None, tmp_path / f"{how}-{seed}") as storage:
                place = Place("digits8", ACCURACY, Rules(), dataset, *splits, LocalWorkers(2), storage)
                search = Search(place, Member.named("svm"), 1_000)
                if how == "guessing":
                    search.study.optuna.sampler = RandomSampler(seed=seed)
                    search.study.optuna.pruner = NopPruner()
                list(search.run(1_000, time.monotonic() + 20, deaf))
                best[how] = search.study.complete[0].value
                print(f"seed {seed}, {how}: {best[how]:.4f} in {search.tried} trials")
        gained.append(best["guessing"] - best["searching"])
    error = np.std(gained, ddof=1) / np.sqrt(len(gained))
    assert np.mean(gained) > -error, gained


@pytest.fixture
def postgresql(tmp_path):
    """The address of a server of our own on loopback."""
    initdb = shutil.which("initdb") or next((ROOT / "/usr/lib/postgresql").glob("*/bin/initdb"), None)
    if not initdb:
        pytest.skip("PostgreSQL is not installed")
    folder = tmp_path / "postgresql"
    folder.mkdir()
    user = "nobody" if os.geteuid() == 0 else None  # it refuses to run as root
    if user:
        for parent in (folder, *folder.parents):
            if parent.owner() == "root" and parent.stat().st_mode & 0o777 == 0o700:
                parent.chmod(0o711)
        shutil.chown(folder, user)
    binaries = os.path.realpath(initdb).removesuffix("/initdb")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    cluster = folder / "cluster"
    begin = [initdb, "-D", cluster, "-U", "tester", "-A", "trust", "-N"]
    subprocess.run(begin, cwd=folder, user=user, check=True, capture_output=True)
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
        server.send_signal(signal.SIGINT)  # without waiting for our own connection


@pytest.mark.slow
@pytest.mark.parametrize("where", ["here", "on a cluster"])
def test_two_drivers_share_a_study_and_no_work(where, postgresql, empty_cluster, tmp_path, own_competition, place):
    arguments = [sys.executable, "-m", "competition", "tune", "--competition", "digits8", "--folds", "5", "--jobs", "1"]
    arguments += ["--models", "knn", "--trials", "12", "--storage", postgresql]
    if where == "on a cluster":
        for _ in range(2):
            empty_cluster.start()
        arguments += ["--cluster", empty_cluster.address]
    drivers = []
    for name in ("one", "two"):  # as on two machines, each with its own folders
        (tmp_path / name).mkdir()
        (tmp_path / name / "data").symlink_to(tmp_path / "data")
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        drivers.append(
            subprocess.Popen(arguments, cwd=tmp_path / name, env=environment, stdout=subprocess.PIPE, text=True)
        )
    told = [driver.communicate(timeout=300)[0] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], told
    with open_storage(postgresql, tmp_path) as storage:
        search = Search(replace(place, storage=storage), Member.named("knn"), 12)
        trials = search.study.trials
        assert 12 <= len(trials) <= 13 and all(trial.state.is_finished() for trial in trials)
        assert len({str(sorted(trial.params.items())) for trial in trials}) == len(trials)
        assert len({trial.user_attrs["lease"]["pid"] for trial in trials}) == 2
        ended = [
            line.split(":")[0]
            for text in told
            for line in text.splitlines()
            if line.startswith("knn trial") and " to go " in line
        ]
        assert len(ended) == len(set(ended)), "a trial was run by both"
        assert told[0].splitlines()[-1] == told[1].splitlines()[-1], "they decided alike"
