"""The command line: wiring only."""

import argparse
import math
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from competition.problem import Problem

if TYPE_CHECKING:
    from competition.data import Dataset
    from competition.ledger import Origin
    from competition.models import Member
    from competition.store import Predictions, Store
    from competition.task import Task

DATA, FOLDS, SUBMISSIONS = Path("data"), Path("folds"), Path("submissions")
Command = Callable[[argparse.Namespace], None]
DEFAULT_MEMBERS = ("knn", "svm", "quick", "plain")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a Problem ends as one line and status 2."""
    signal.signal(signal.SIGTERM, _stop)
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; what is finished is kept, and the same command goes on from there", file=sys.stderr)
        return 130
    return 0


def data(options: argparse.Namespace) -> None:
    """Bring the competition's files and check them."""
    dataset = _dataset(options)
    rows, height, width, _ = dataset.images.shape
    classes = ", ".join(map(str, dataset.classes[:12])) + (" ..." if len(dataset.classes) > 12 else "")
    counts = f"{rows:,} training and {len(dataset.test_ids):,} test images"
    print(f"{DATA / options.competition}: {counts} of {height}x{width} pixels")
    print(f"{len(dataset.classes)} classes: {classes}")


def cv(options: argparse.Namespace) -> None:
    """Train every model on every fold and print the leaderboard."""
    from competition import terminal

    store = _store(options)
    complete: list[Predictions] = []
    try:
        with _alarm(options.budget):
            for members in _cross_validated(options, store):
                complete = members
    finally:
        terminal.console.print(terminal.leaderboard(complete, store.dataset.labels))


def submit(options: argparse.Namespace) -> None:
    """Cross-validate, blend and write submission.csv, anew with each model that becomes complete."""
    from competition import advice, ensemble, submission, terminal
    from competition.blenders import BLENDERS
    from competition.ledger import Ledger
    from competition.metrics import percent

    store = _store(options)
    labels, held_out = store.dataset.labels, store.folds.held_out
    ledger, origin = Ledger(SUBMISSIONS), _origin(options, store)
    entry = ledger.opened(origin)
    complete: list[Predictions] = []
    blended: list[Predictions] = []
    try:
        with _alarm(options.budget):
            for complete in _cross_validated(options, store):
                blend = ensemble.blend(complete, labels, held_out, options.blend)
                for target in (entry.file, SUBMISSIONS / "submission.csv"):
                    submission.write(blend.test, store.dataset, _sample(options), target)
                ledger.keep(entry, origin, blend)
                blended = complete
                names, score = ", ".join(blend.members), percent(blend.accuracy)
                terminal.console.print(f"{target} now blends {names} ({blend.blender}): {score} out of fold")
    finally:
        terminal.console.print(terminal.leaderboard(complete, labels))
        if len(blended) > 1:
            others = [ensemble.blend(blended, labels, held_out, name) for name in BLENDERS]
            terminal.console.print(terminal.blends(blend, others, labels))
            terminal.console.print(terminal.advice(advice.helps(blended, blend, labels, held_out)))
        if blended:
            terminal.console.print(terminal.kept(entry))


def take_in(options: argparse.Namespace) -> None:
    """Take in out-of-fold and test probabilities from elsewhere as a member, @NAME, once they are checked."""
    from competition import exchange, terminal
    from competition.metrics import accuracy, percent
    from competition.models import Member

    store = _store(options)
    member = Member.named(f"@{options.name}")
    files = options.oof, options.test, options.split
    store.take_in(member, list(exchange.read(*files, store.dataset, store.folds)))
    score = percent(accuracy(store.dataset.labels, store.predictions(member).oof))
    terminal.console.print(f'{member.name}: {score} out of fold; blend it: make submit MODELS="quick {member.name}"')


def export(options: argparse.Namespace) -> None:
    """Write the first model's out-of-fold and test probabilities as tables, the split included."""
    from competition import exchange
    from competition.models import Member

    store = _store(options)
    member = Member.named(options.models[0])
    predictions = store.predictions(member)
    if not predictions.complete:
        raise Problem(f"{member.name} is not complete; run `make cv MODELS={member.name}`")
    folder = FOLDS / options.competition / store.folds.name / member.name
    for path in exchange.write(predictions, store.dataset, store.folds, folder):
        print(path)


def reproduce(options: argparse.Namespace) -> None:
    """Make a submission anew from what its card tells, and compare the bytes."""
    from competition import ensemble, submission, terminal
    from competition.files import sha256
    from competition.ledger import Ledger

    entry = Ledger(SUBMISSIONS).entry(options.competition, options.number)
    card = entry.card
    options.models, options.blend = list(card["origin"]["members"]), card["origin"]["blend"]
    options.budget = None
    options.folds, options.seed = (int(part) for part in card["origin"]["split"].split("-folds-seed-"))
    store = _store(options)
    if _origin(options, store).digest != card["origin_digest"]:
        commit = card["git"].get("commit", "that made it")
        raise Problem(f"{entry.folder} was made from other data, recipes or code; go back to it: git checkout {commit}")
    *_, complete = _cross_validated(options, store)
    blend = ensemble.blend(complete, store.dataset.labels, store.folds.held_out, options.blend)
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / "submission.csv"
        submission.write(blend.test, store.dataset, _sample(options), again)
        if sha256(again) != card["sha256"]:
            raise Problem(f"{entry.file} comes out otherwise now; were its libraries or its machine others?")
    terminal.console.print(f"{entry.file} comes out the same, byte for byte")


def upload(options: argparse.Namespace) -> None:
    """Upload a submission to Kaggle, wait for its score and write it into the ledger."""
    from competition import kaggle, submission, terminal
    from competition.files import sha256
    from competition.ledger import Ledger
    from competition.sources import SEALED

    ledger = Ledger(SUBMISSIONS)
    entry = ledger.entry(options.competition, options.number)
    if (DATA / options.competition / SEALED).exists():
        raise Problem(f"{options.competition} is embedded here and nothing of Kaggle's; `make grade` scores it")
    dataset = _dataset(options)
    submission.check(entry.file, _sample(options), dataset.classes)
    message = f"submission {entry.number} {sha256(entry.file)[:12]}"
    kaggle.submit(options.competition, entry.file, message)
    print(f"{entry.file} is uploaded; waiting for its score ...", flush=True)
    *_, outcome = kaggle.outcomes(options.competition, message, options.wait)
    if outcome is None or outcome.status == "PENDING":
        later = f"python -m competition score --competition {options.competition} --number {entry.number} --value SCORE"
        raise Problem(f"Kaggle has no score after {options.wait:.0f} s; write it down when it has: {later}")
    if outcome.score is None:
        raise Problem(f"Kaggle refuses {entry.file}: {outcome.reason or outcome.status}")
    ledger.record(options.competition, sha256(entry.file), "leaderboard", outcome.score)
    terminal.console.print(terminal.against_leaderboard(entry, outcome.score, len(dataset.test_ids)))


def score(options: argparse.Namespace) -> None:
    """Write down what Kaggle's leaderboard gave a submission, beside what cross-validation promised."""
    from competition import terminal
    from competition.files import sha256
    from competition.ledger import Ledger

    ledger = Ledger(SUBMISSIONS)
    entry = ledger.entry(options.competition, options.number)
    ledger.record(options.competition, sha256(entry.file), "leaderboard", options.value)
    rows = len(_dataset(options).test_ids)
    terminal.console.print(terminal.against_leaderboard(entry, options.value, rows))


def grade(options: argparse.Namespace) -> None:
    """Open the sealed answers of an embedded competition; the opening is put on record."""
    from competition import grading, terminal
    from competition.files import sha256
    from competition.ledger import Ledger

    ledger = Ledger(SUBMISSIONS)
    submission = options.file or ledger.entry(options.competition).file
    result = grading.grade(submission, DATA / options.competition)
    ledger.record(options.competition, sha256(submission), "sealed", result.accuracy.value)
    terminal.console.print(terminal.graded(result))
    terminal.console.print(f"{submission}; the answers have been opened {result.openings} times")


def bench(options: argparse.Namespace) -> None:
    """Time every network's training step against this machine's matrix product; with --full, race recipes too."""
    import json
    from dataclasses import asdict

    from competition import bench, race, terminal
    from competition.files import write_whole

    store = _store(options)
    peaks = bench.peaks()
    print("matrix product: " + ", ".join(f"{peak:.0f} GFLOP/s in {name}" for name, peak in peaks.items()), flush=True)
    speeds = []
    for speed in bench.speeds(bench.networks(), store.dataset, peaks):
        print(f"{speed.network}, {speed.workers} workers: {speed.images_per_second:,.0f} images/s", flush=True)
        speeds.append(speed)
    terminal.console.print(terminal.speeds(speeds))
    runs = list(race.race(store.dataset, store.folds, terminal.tell_of_race)) if options.full else []
    if runs:
        terminal.console.print(terminal.raced(runs))
    found = {"peaks": peaks, "speeds": [asdict(one) for one in speeds], "race": [asdict(run) for run in runs]}
    report = FOLDS / options.competition / "bench.json"
    write_whole(report, json.dumps(found, indent=1).encode())
    print(f"{report} has the same as JSON")


def safety(options: argparse.Namespace) -> None:
    """Show to the first model, on rows that it was not trained on, which changes of images change their class."""
    from competition import safety, terminal
    from competition.models import Member

    store = _store(options)
    member, fold = Member.named(options.models[0]), 0
    held_out = store.folds.held_out == fold
    images, labels = store.dataset.images[held_out], store.dataset.labels[held_out]
    found = safety.effects(store.kept(member, fold), images, labels)
    terminal.console.print(terminal.effects(list(found), store.dataset.classes))


def _sample(options: argparse.Namespace) -> Path:
    return DATA / options.competition / "sample_submission.csv"


def _origin(options: argparse.Namespace, store: "Store") -> "Origin":
    """All that decides how a submission comes out."""
    from competition.ledger import Origin

    asked = {member.name: store.fingerprint(member) for member in _members(options)}
    data, folds = store.dataset.digest, store.folds
    return Origin(options.competition, data, folds.name, folds.digest, asked, options.blend)


def _members(options: argparse.Namespace) -> "list[Member]":
    """Whom the user named, each once; `all` names every model."""
    from competition.models import Member, available

    names = available() if list(options.models) == ["all"] else dict.fromkeys(options.models)
    return [Member.named(name) for name in names]


def _dataset(options: argparse.Namespace) -> "Dataset":
    """The competition's rows, its files brought first if need be."""
    from competition.data import load
    from competition.sources import ensure

    folder = DATA / options.competition
    if not folder.exists():
        print(f"bringing the files of {options.competition} into {folder} ...", flush=True)
    ensure(options.competition, folder)
    return load(folder)


def _store(options: argparse.Namespace) -> "Store":
    """The place of the split's predictions."""
    from competition.folds import frozen
    from competition.store import Store

    dataset = _dataset(options)
    folder = FOLDS / options.competition
    return Store(folder, dataset, frozen(dataset, folder, options.folds, options.seed))


def _cross_validated(options: argparse.Namespace, store: "Store") -> "Generator[list[Predictions]]":
    """All complete members whenever there are more, with progress on the terminal."""
    from competition import terminal
    from competition.compute import LocalWorkers
    from competition.crossval import cross_validate, unfinished
    from competition.progress import Progress

    members = _members(options)
    workers = LocalWorkers(options.jobs)
    if tasks := unfinished(store, members):
        reasons = sorted({f"{task.member.name}: {reason}" for task, reason in tasks.items()})
        print(f"{len(tasks)} folds to train with {workers.jobs} workers", *reasons, sep="\n  ", flush=True)
    progress = Progress(store, members, workers.jobs)
    end = time.monotonic() + (options.budget or math.inf)

    def admits(task: "Task") -> bool:
        return progress.fits(task.member, end - time.monotonic())

    with (
        terminal.shown(progress) as hear,
        closing(cross_validate(store, members, workers, hear, admits)) as complete,
    ):
        yield from complete


@contextmanager
def _alarm(seconds: float | None) -> Iterator[None]:
    """End quietly once the time is up, whatever runs."""

    def ring(*what: Any) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds or 0)
    try:
        yield
    except TimeoutError:
        print("the time is up; what is finished is kept, and the same command goes on from there", flush=True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _natural(text: str) -> int:
    """A whole number that is not negative."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 0")
    return int(text)


def _duration(text: str) -> float:
    """Seconds, from such as 20m or 1h30m."""
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    hours, minutes, rest = (int(part or 0) for part in parts.groups()) if parts else (0, 0, 0)
    seconds = 3600 * hours + 60 * minutes + rest
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text} is no duration; write such as 20m or 1h30m")
    return float(seconds)


def _stop(*what: Any) -> None:
    """End as on Ctrl-C."""
    raise KeyboardInterrupt


OPTIONS: dict[str, dict[str, Any]] = {
    "competition": {"default": "digits", "metavar": "NAME", "help": "the folder under data/; default: %(default)s"},
    "models": {
        "nargs": "+",
        "default": DEFAULT_MEMBERS,
        "metavar": "MEMBER",
        "help": "models, with .SEED for further networks of a kind and :NAME for another recipe, or all; "
        f"default: {' '.join(DEFAULT_MEMBERS)}",
    },
    "folds": {
        "type": _natural,
        "default": 5,
        "metavar": "N",
        "help": "parts that take turns at being held out; default: %(default)s",
    },
    "seed": {
        "type": _natural,
        "default": 0,
        "metavar": "N",
        "help": "of the split, each beside the others; default: %(default)s",
    },
    "jobs": {"type": _natural, "metavar": "N", "help": "workers of one thread; default and most: one a core"},
    "budget": {
        "type": _duration,
        "metavar": "TIME",
        "help": "such as 20m: no model is begun that cannot be finished, and then it ends; default: no limit",
    },
    "blend": {
        "default": "auto",
        "metavar": "HOW",
        "help": "auto (the mean, unless something beats it beyond noise), mean, geometric, tempered, convex, "
        "hill-climbing or stacked; default: %(default)s",
    },
    "file": {"type": Path, "metavar": "FILE", "help": "a submission; default: the competition's latest"},
    "name": {"required": True, "metavar": "NAME", "help": "what the member is to be called, behind an @"},
    "oof": {"type": Path, "required": True, "metavar": "FILE", "help": "a CSV (id, fold, a column a class) or .npy"},
    "test": {"type": Path, "required": True, "metavar": "FILE", "help": "a CSV (id, a column a class) or .npy"},
    "split": {"type": Path, "metavar": "FILE", "help": "where --oof does not tell it: the split.csv of its training"},
    "number": {"type": _natural, "metavar": "N", "help": "of the submission; default: the latest"},
    "wait": {
        "type": _duration,
        "default": 300.0,
        "metavar": "TIME",
        "help": "how long to wait for the score, such as 2m; default: 5m",
    },
    "value": {"type": float, "required": True, "metavar": "SCORE", "help": "the leaderboard's accuracy, such as 0.997"},
    "full": {"action": "store_true", "help": "race recipes to 99.5 %% on a fold, an hour or more"},
}
COMMANDS: tuple[tuple[Command, str], ...] = (
    (data, "competition"),
    (cv, "competition models folds seed jobs budget"),
    (submit, "competition models folds seed jobs budget blend"),
    (grade, "competition file"),
    (reproduce, "competition number jobs"),
    (take_in, "competition folds seed name oof test split"),
    (export, "competition models folds seed"),
    (upload, "competition number wait"),
    (score, "competition number value"),
    (safety, "competition models folds seed"),
    (bench, "competition folds seed full"),
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m competition",
        description="From a table of pixels to a submission: cross-validate models, blend them, write submission.csv.",
        epilog="`make help` lists the same as verbs of Make, with a set-up that they do by themselves.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command, names in COMMANDS:
        about = str(command.__doc__)
        verb = "import" if command is take_in else command.__name__  # which Python keeps for itself
        one = commands.add_parser(verb, help=about, description=about)
        one.set_defaults(command=command)
        for name in names.split():
            one.add_argument(f"--{name}", **OPTIONS[name])
    return parser


if __name__ == "__main__":
    sys.exit(main())
