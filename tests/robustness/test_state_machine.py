"""Any sequence of runs, kills, damages and changes leaves files that are read as written or refused by name."""

import os
import random
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from competition.crossval.exchange import read_predictions
from competition.crossval.folds import load_or_make_folds
from competition.crossval.provenance import provenance_of
from competition.crossval.store import Store
from competition.crossval.task import FoldResult
from competition.data.dataset import Dataset, load_dataset
from competition.data.practice import write_competition
from competition.ensemble.blend import blend
from competition.errors import UserError
from competition.files import exclusive_lock, sha256
from competition.models.member import Member
from competition.scoring.metrics import ACCURACY
from competition.submission.format import Sample, write_submission
from competition.submission.log import RunSpec, SubmissionLog

ROWS, TEST_ROWS, FOLDS = 12, 4, 2
NAMES = ("knn",)
IMPORTED = ("@theirs",)
FILE_OPERATIONS = ("os.rename", "os.remove", "os.mkdir", "os.link", "os.truncate")

folds = st.integers(0, FOLDS - 1)
seeds = st.integers(0, 2**16)
operations = st.integers(0, 25)  # on files, before a process is killed


@dataclass(frozen=True)
class Saved:
    """The content of a fold's files, and what it was made from: data and hyperparameter."""

    held_out: bytes
    test: bytes
    model: bytes | None
    provenance: tuple[str, int]


def run_child(action: Callable[[], object], kill_at: int | None = None) -> int:
    """Start the action in a child process, to be killed before its n-th change of a file or folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks while other threads run, which are not needed
        process = os.fork()
    if process:
        return process
    left = kill_at

    def count(event: str, arguments: tuple) -> None:
        nonlocal left
        is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
        if left is not None and (is_write or event in FILE_OPERATIONS):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    status = 1
    try:
        action()
        status = 0
    except UserError:
        status = 2  # refused, e.g. because another run has the lock
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(status)


def wait_for(process: int) -> int | None:
    """The exit status of a child process; None if it was killed."""
    _, status = os.waitpid(process, 0)
    return None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def damage(path: Path, seed: int) -> None:
    """Remove or truncate the file, or flip a bit of it."""
    rng, content = random.Random(seed), path.read_bytes()
    match rng.randrange(3):
        case 0:
            path.unlink()
        case 1:
            path.write_bytes(content[: rng.randrange(len(content) or 1)])
        case 2 if content:
            flipped = bytearray(content)
            flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            path.write_bytes(flipped)


class CrossValidation(RuleBasedStateMachine):
    """The folds of two trained and two imported members of a competition, and its submissions."""

    def __init__(self, datasets: Sequence[Dataset], folder: Path) -> None:
        super().__init__()
        self.datasets, self.root = datasets, folder / f"{random.SystemRandom().getrandbits(64):x}"
        self.log = SubmissionLog(self.root / "submissions")

    def teardown(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    @initialize()
    def start(self) -> None:
        self.root.mkdir()
        self.data, self.neighbors = 0, 3
        self.split_bytes: dict[int, bytes] = {}
        # What each fold's files may contain; None stands for nothing that is usable.
        self.possible: dict[tuple[str, int], set[Saved | None]] = {
            (name, fold): {None} for name in (*NAMES, *IMPORTED) for fold in range(FOLDS)
        }
        self.runs: dict[int, str] = {}  # digest of the run that got each number
        self.unfinished: set[int] = set()  # numbers of runs that were killed
        self.scored: dict[int, tuple[str, str]] = {}  # SHA-256 and leaderboard score of a number
        for fold in range(FOLDS):
            self.train("knn", fold, 0, None)
        self.import_trained_folds("knn", "@theirs", None)

    @property
    def dataset(self) -> Dataset:
        return self.datasets[self.data]

    @property
    def store(self) -> Store:
        folder = self.root / f"folds-{self.data}"  # each data set keeps its split, as the message tells the user
        return Store(folder, self.dataset, load_or_make_folds(self.dataset, folder, FOLDS, 0))

    def member(self, name: str) -> Member:
        member = Member.parse(name)
        return (
            member if member.is_imported else replace(member, recipe=replace(member.recipe, n_neighbors=self.neighbors))
        )

    def provenance(self, name: str) -> tuple[str, int]:
        return self.dataset.digest, 0 if name.startswith("@") else self.neighbors

    def key(self, name: str, fold: int) -> tuple[str, int]:
        return f"{self.data} {name}", fold

    def options(self, name: str, fold: int) -> set[Saved | None]:
        return self.possible.setdefault(self.key(name, fold), {None})

    def predict(self, seed: int, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """Random predictions of the fold's held-out rows and of the test rows."""
        rng = np.random.default_rng([seed, fold])
        rows = int((self.store.folds.held_out == fold).sum())
        return rng.dirichlet(np.ones(2), rows).astype(np.float32), rng.dirichlet(np.ones(2), TEST_ROWS).astype(
            np.float32
        )

    # Folds

    @rule(name=st.sampled_from(NAMES), fold=folds, seed=seeds, kill_at=st.none() | operations)
    def train(self, name: str, fold: int, seed: int, kill_at: int | None) -> None:
        store, member = self.store, self.member(name)
        (held_out, test), model = self.predict(seed, fold), f"model {seed} {self.provenance(name)}".encode()
        provenance = provenance_of(member, store.dataset, store.folds)
        result = FoldResult(held_out, test, 1.0, model, ".skops", provenance)
        saved = Saved(held_out.tobytes(), test.tobytes(), model, self.provenance(name))
        key = self.key(name, fold)
        if self.finish(lambda: store.save(member, fold, result), kill_at):
            self.possible[key] = {saved}
        else:
            self.possible[key] = self.options(name, fold) | {saved, None}

    @rule(name=st.sampled_from(IMPORTED), seeds=st.tuples(seeds, seeds), kill_at=st.none() | operations)
    def import_tables(self, name: str, seeds: tuple[int, int], kill_at: int | None) -> None:
        """Import from CSV files, perhaps while another process imports, too."""
        versions = [self.write_tables(seed) for seed in seeds[: 1 if kill_at is not None else 2]]
        store, member = self.store, self.member(name)

        def run(oof: Path, test: Path) -> None:
            store.import_predictions(member, list(read_predictions(oof, test, None, store.dataset, store.folds)))

        if kill_at is not None:
            finished = [self.finish(lambda: run(*versions[0]), kill_at)]
        else:
            processes = [run_child(lambda files=files: run(*files)) for files in versions]
            statuses = [wait_for(process) for process in processes]
            assert 0 in statuses and set(statuses) <= {0, 2}, statuses
            finished = [status == 0 for status in statuses]
        for fold in range(FOLDS):
            done = {self.imported(version, fold) for version, end in zip(versions, finished, strict=True) if end}
            self.possible[self.key(name, fold)] = done or {
                None,
                *self.options(name, fold),
                *(self.imported(version, fold) for version in versions),
            }
        self.check_import(name)

    def write_tables(self, seed: int) -> tuple[Path, Path]:
        """Write predictions as another program would."""
        folds, dataset, folder = self.store.folds, self.dataset, self.root / "theirs"
        oof = np.empty((ROWS, 2), np.float32)
        for fold in range(FOLDS):
            oof[folds.held_out == fold], test = self.predict(seed, fold)
        folder.mkdir(exist_ok=True)
        paths = folder / f"oof-{seed}.csv", folder / f"test-{seed}.csv"
        classes = [str(name) for name in dataset.classes]
        pd.DataFrame({"id": dataset.train_ids, "fold": folds.held_out} | dict(zip(classes, oof.T, strict=True))).to_csv(
            paths[0], index=False
        )
        pd.DataFrame({"id": dataset.test_ids} | dict(zip(classes, test.T, strict=True))).to_csv(paths[1], index=False)
        return paths

    def imported(self, files: tuple[Path, Path], fold: int) -> Saved:
        """What a fold contains once these files are imported."""
        held_out, test = list(read_predictions(*files, None, self.dataset, self.store.folds))[fold]
        return Saved(held_out.tobytes(), test.tobytes(), None, (self.dataset.digest, 0))

    @rule(source=st.sampled_from(NAMES), name=st.sampled_from(IMPORTED), kill_at=st.none() | operations)
    def import_trained_folds(self, source: str, name: str, kill_at: int | None) -> None:
        """Import what the same package trained elsewhere, with its models."""
        store = self.store
        if any(store.reason_to_train(self.member(source), fold) for fold in range(FOLDS)):
            return
        new = [self.read(source, fold) for fold in range(FOLDS)]
        folder = store.folder / store.folds.name / source
        is_finished = self.finish(lambda: store.import_folds(folder, name[1:]), kill_at)
        for fold in range(FOLDS):
            saved = replace(new[fold], provenance=(self.dataset.digest, 0))
            self.possible[self.key(name, fold)] = {saved} if is_finished else {*self.options(name, fold), saved, None}
        self.check_import(name)

    @rule(name=st.sampled_from((*NAMES, *IMPORTED)), fold=folds, seed=seeds)
    def damage_predictions(self, name: str, fold: int, seed: int) -> None:
        path = self.store.folder / self.store.folds.name / name / f"fold-{fold}.npz"
        if path.exists():
            damage(path, seed)
            self.options(name, fold).add(None)

    @rule(name=st.sampled_from(NAMES), fold=folds, seed=seeds)
    def damage_record(self, name: str, fold: int, seed: int) -> None:
        """Damage seconds and curve; follow the remedy if the file is refused."""
        path = self.store.folder / self.store.folds.name / name / f"fold-{fold}.json"
        if path.exists():
            damage(path, seed)
            try:
                self.store.seconds(self.member(name), fold)
            except UserError as error:
                assert f"{path} is damaged" in str(error) and f"rm {path}" in str(error)
                path.unlink()

    @rule(seed=seeds)
    def damage_split(self, seed: int) -> None:
        """Damage the split; follow the remedy that keeps the predictions."""
        path = self.store.folder / self.store.folds.name / "split.csv"
        content = path.read_bytes()
        damage(path, seed)
        try:
            store = self.store
            assert (
                store.folds.digest == load_or_make_folds(self.dataset, self.root / f"new-{self.data}", FOLDS, 0).digest
            )
        except UserError as error:
            assert str(error).startswith(f"{path} ")
            path.unlink()
        assert (self.store.folds.held_out >= 0).all()
        if path.read_bytes() != content:  # the damage was harmless to the rows, e.g. in a line break
            path.write_bytes(content)

    @rule(neighbors=st.sampled_from((3, 5)))
    def change_recipe(self, neighbors: int) -> None:
        self.neighbors = neighbors

    @rule()
    def change_data(self) -> None:
        self.data = 1 - self.data

    @rule()
    def run_while_another_run_has_the_split(self) -> None:
        store = self.store
        folder = store.folder / store.folds.name
        with exclusive_lock(folder):
            files = self.write_tables(0)
            assert wait_for(run_child(lambda: self.import_again(store, files))) == 2

    def import_again(self, store: Store, files: tuple[Path, Path]) -> None:
        by_fold = list(read_predictions(*files, None, store.dataset, store.folds))
        store.import_predictions(self.member("@theirs"), by_fold)

    def finish(self, action: Callable[[], object], kill_at: int | None) -> bool:
        """Run the action, in a process that is killed on the way unless `kill_at` is None; whether it finished."""
        if kill_at is None:
            action()
            return True
        status = wait_for(run_child(action, kill_at))
        assert status in (None, 0), status
        if status is None:  # its last write may be incomplete
            for path in self.root.rglob(".*~*"):
                if path.is_file() and path.stat().st_size:
                    os.truncate(path, path.stat().st_size // 2)
        return status == 0

    def read(self, name: str, fold: int) -> Saved | None:
        """The content of a finished fold as it is used; None if it has to be trained or imported again."""
        store, member = self.store, self.member(name)
        if store.reason_to_train(member, fold):
            return None
        predictions = store.predictions(member)
        held_out, test = predictions.oof[store.folds.held_out == fold], predictions.test[fold]
        file = store.folder / store.folds.name / name / f"fold-{fold}.skops"
        model = file.read_bytes() if file.exists() else None
        return Saved(held_out.tobytes(), test.tobytes(), model, self.provenance(name))

    def check_import(self, name: str) -> None:
        """The folds of an imported member are of the same import."""
        store, member = self.store, self.member(name)
        finished = [fold for fold in range(FOLDS) if not store.reason_to_train(member, fold)]
        assert len({store.fingerprint(member) for _ in finished}) <= 1
        digests = {
            path: np.load(path)["made_of"].item()
            for path in (store.folder / store.folds.name / name).glob("fold-*.npz")
            if int(path.stem.removeprefix("fold-")) in finished
        }
        assert len(set(digests.values())) <= 1, digests

    @invariant()
    def folds_are_read_as_written(self) -> None:
        for name in (*NAMES, *IMPORTED):
            for fold in range(FOLDS):
                options, actual = self.options(name, fold), self.read(name, fold)
                usable = {option for option in options if option and option.provenance == self.provenance(name)}
                if actual is None:
                    assert usable != options, f"{name} fold {fold} is lost"
                else:
                    assert actual in usable, f"{name} fold {fold} is not what was written"
                    self.possible[self.key(name, fold)] = {actual}

    # Submissions

    @rule(names=st.sampled_from((NAMES, IMPORTED, NAMES + IMPORTED)), kill_at=st.none() | operations)
    def submit(self, names: tuple[str, ...], kill_at: int | None) -> None:
        store = self.store
        members = [store.predictions(self.member(name)) for name in names]
        if not all(member.complete for member in members):
            return
        run = self.run_spec(store, names)
        blended = blend(members, store.dataset.labels, store.folds.held_out, "mean")
        score = ACCURACY.score(store.dataset.labels, blended.oof, None)

        def write() -> None:
            entry = self.log.get_or_create_entry(run)
            for file in (entry.file, self.log.current_file):
                write_submission(blended.test, store.dataset, self.sample, file)
            self.log.save(entry, run, blended, ACCURACY, score)

        before, folders = dict(self.runs), self.numbers()
        is_finished = self.finish(write, kill_at)
        for number, digest in self.numbers().items():
            if number not in self.runs:
                assert number > max(before, default=0), f"number {number} is used again"
                self.runs[number] = digest
            if digest in (run.digest, ""):
                (self.unfinished.discard if is_finished and digest else self.unfinished.add)(number)
        if is_finished:
            number = self.log.get_or_create_entry(run).number
            assert self.runs[number] == run.digest
            if run.digest in folders.values():
                assert folders[number] == run.digest, "the run has another number than before"
            self.reproduce(store, names, number)

    @property
    def sample(self) -> Sample:
        return Sample(self.dataset.cache.parents[1] / "sample_submission.csv")

    def run_spec(self, store: Store, names: Sequence[str]) -> RunSpec:
        fingerprints = {name: store.fingerprint(self.member(name)) for name in names}
        return RunSpec(
            "tiny", store.dataset.digest, store.folds.name, store.folds.digest, fingerprints, "mean", ACCURACY.name
        )

    def reproduce(self, store: Store, names: Sequence[str], number: int) -> None:
        """The submission is made again from what its metadata says, byte for byte."""
        entry = self.log.entry("tiny", number)
        assert list(entry.metadata["members"]) == list(names)
        members = [store.predictions(self.member(name)) for name in entry.metadata["members"]]
        blended = blend(members, store.dataset.labels, store.folds.held_out, entry.metadata["blender"])
        file = self.root / "again.csv"
        write_submission(blended.test, store.dataset, self.sample, file)
        assert sha256(file) == entry.metadata["sha256"] == sha256(entry.file)

    @rule(score=st.sampled_from((0.25, 0.5, 0.75)), number=st.integers(1, 5))
    def record_score(self, score: float, number: int) -> None:
        if number in self.finished_numbers():
            digest = self.log.entry("tiny", number).digest
            numbers = self.log.record_score("tiny", digest, ACCURACY.name, "leaderboard", score)
            assert number in numbers
            self.scored |= dict.fromkeys(numbers, (digest, f"{score:.6f}"))

    @rule()
    def remove_last_submission(self) -> None:
        """Remove a folder, as users do who tidy up."""
        if finished := self.finished_numbers():
            shutil.rmtree(self.log.entry("tiny", finished[-1]).folder)
            self.forget_lost_numbers()

    def forget_lost_numbers(self) -> None:
        """Numbers with neither a folder nor a row, which was damaged, may be given to other runs."""
        known = {*self.numbers(), *self.log.read()["number"].astype(int)}
        self.runs = {number: digest for number, digest in self.runs.items() if number in known}

    @rule(kind=st.sampled_from(("remove", "truncate", "garbage")), seed=seeds)
    def damage_log(self, kind: str, seed: int) -> None:
        """Damage the log; follow the remedy if it is refused."""
        path = self.log.path
        if not path.exists():
            return
        content = path.read_bytes()
        size = seed % len(content)
        match kind:
            case "remove":
                path.unlink()
            case "truncate":
                path.write_bytes(content[:size])
            case "garbage":
                path.write_bytes(content[:size] + b"\x00\xff," + content[size:])
        try:
            self.log.read()
        except UserError as error:
            assert f"{path} is damaged" in str(error) and f"mv {path} {path}.old" in str(error)
            path.unlink()
        self.scored = {}  # they are lost with their lines
        self.forget_lost_numbers()

    @rule(seed=seeds, number=st.integers(1, 5))
    def damage_metadata(self, seed: int, number: int) -> None:
        """Damage metadata; follow the remedy if it is refused."""
        if number not in self.finished_numbers():
            return
        path = self.log.entry("tiny", number).metadata_file
        path.write_bytes(path.read_bytes()[: seed % path.stat().st_size])
        with pytest.raises(UserError, match=r"metadata\.json is damaged .*run the same `make submit"):
            _ = self.log.entry("tiny", number).metadata
        shutil.rmtree(path.parent)
        self.forget_lost_numbers()

    def numbers(self) -> dict[int, str]:
        """The digest of the run of each number, from the folders."""
        folders = [path for path in (self.log.folder / "tiny").glob("[0-9]*-*") if path.is_dir()]
        entries = [self.log_entry(path) for path in folders]
        assert len({entry.number for entry in entries}) == len(entries), f"a number twice: {folders}"
        return {entry.number: entry.run_digest for entry in entries}

    def log_entry(self, folder: Path):
        from competition.submission.log import Entry

        return Entry(folder)

    def finished_numbers(self) -> list[int]:
        return [number for number in sorted(self.numbers()) if number not in self.unfinished]

    @invariant()
    def numbers_are_never_used_again(self) -> None:
        for number, digest in self.numbers().items():
            assert self.runs.get(number) == digest, f"number {number} was given to another run"

    @invariant()
    def the_log_agrees_with_the_folders(self) -> None:
        rows = self.log.read().set_index("number")
        assert rows.index.is_unique
        for number in self.finished_numbers():
            entry = self.log.entry("tiny", number)
            assert rows.loc[str(number), "sha256"] == sha256(entry.file) == entry.metadata["sha256"]
            assert rows.loc[str(number), "name"] == entry.folder.name
        for number, (digest, score) in self.scored.items():
            row = rows.loc[str(number)]
            assert row["sha256"] != digest or row["leaderboard"] == score, f"the score of {number} is lost"


@pytest.fixture(scope="module")
def datasets(tmp_path_factory) -> list[Dataset]:
    """Two versions of a competition of twelve tiny images."""
    result = []
    for version in range(2):
        folder, rng = tmp_path_factory.mktemp("data") / "tiny", np.random.default_rng(version)
        images = rng.integers(0, 256, (ROWS + TEST_ROWS, 64), dtype=np.uint8)
        labels = np.arange(ROWS + TEST_ROWS) % 2
        write_competition(folder, images[:ROWS], labels[:ROWS], images[ROWS:], labels[ROWS:])
        result.append(load_dataset(folder))
    return result


def run_machine(datasets: Sequence[Dataset], folder: Path, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        lambda: CrossValidation(datasets, folder),
        settings=settings(max_examples=examples, stateful_step_count=steps),
    )


def test_files_survive_any_short_sequence_of_events(datasets, tmp_path):
    run_machine(datasets, tmp_path, examples=10, steps=12)


@pytest.mark.slow
def test_files_survive_any_long_sequence_of_events(datasets, tmp_path):
    run_machine(datasets, tmp_path, examples=300, steps=50)
