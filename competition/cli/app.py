"""The command line: one typed function for each command, which imports what it needs when it runs."""

import signal
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Annotated, Any, NoReturn

import typer

from competition.cli import options as cli
from competition.cli.run import RunOptions
from competition.errors import UserError

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
EXIT_INTERRUPTED = 130


def create_app(**settings: Any) -> typer.Typer:
    """A command line with plain help texts and tracebacks."""
    plain: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False}
    return typer.Typer(context_settings=SETTINGS, no_args_is_help=True, **plain, **settings)


app = create_app()


def run(app: typer.Typer, program: str, arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 2 after an error of the user, 1 if a file cannot be read or written."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(arguments, prog_name=program)
    except SystemExit as exit:
        return int(exit.code or 0)
    return 0


def _interrupt(signum: int, frame: object) -> None:
    """Stop as on Ctrl-C."""
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program `foldblend`; return its exit status."""
    sys.path.append("")  # the current folder may have a module of a custom metric; only `python -m` searches it
    return run(app, "foldblend", arguments)


def command(app: typer.Typer, name: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add a command whose errors and interruptions end with a message and an exit status."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def run_command(*arguments: Any, **keywords: Any) -> None:
            try:
                function(*arguments, **keywords)
            except UserError as error:
                _exit_with(error)
            except OSError as error:
                from competition.files import describe_file_error, is_file_error

                if not is_file_error(error):
                    raise
                _exit_with(describe_file_error(error))
            except KeyboardInterrupt:
                print("\ninterrupted; finished work is kept, run the same command again to continue", file=sys.stderr)
                raise typer.Exit(EXIT_INTERRUPTED) from None

        app.command(name)(run_command)
        return function

    return decorate


def _exit_with(error: UserError) -> NoReturn:
    """Print the error in one line, and end with its exit status."""
    print(f"error: {error}", file=sys.stderr)
    raise typer.Exit(error.exit_status) from None


def _print_version(is_requested: bool) -> None:
    if is_requested:
        from importlib.metadata import version

        print(f"foldblend {version('foldblend')}")
        raise typer.Exit


@app.callback()
def describe(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Cross-validate models on images in CSV files or folders, blend them, and write submission.csv."""


@command(app)
def data(competition: cli.Competition = "digits") -> None:
    """Download or create a competition's files; check them.

    Any competition on Kaggle is downloaded by its name; an interrupted download is resumed. Prints what is inferred
    from the files: classes, shape, columns, groups and metric.
    """
    from competition.cli import submit

    submit.data(competition)


@command(app)
def doctor(
    competition: cli.Competition = "digits",
    models: cli.Models = None,
    folds: cli.Folds = 5,
    seed: cli.Seed = 0,
    jobs: cli.LocalJobs = None,
) -> None:
    """Check data and machine before a long run.

    Looks for duplicates, distribution shift, label errors and rare classes, and estimates memory, disk space and time.
    """
    from competition.cli import check

    check.doctor(RunOptions(competition, models, folds, seed, jobs))


@command(app)
def cv(
    competition: cli.Competition = "digits",
    models: cli.Models = None,
    folds: cli.Folds = 5,
    seed: cli.Seed = 0,
    jobs: cli.Jobs = None,
    budget: cli.Budget = None,
    cluster: cli.Cluster = None,
) -> None:
    """Train every model on every fold; print their scores.

    Finished folds are kept and not trained again.
    """
    from competition.cli import submit

    submit.cv(RunOptions(competition, models, folds, seed, jobs, budget, cluster))


@command(app)
def submit(
    competition: cli.Competition = "digits",
    models: cli.Models = None,
    folds: cli.Folds = 5,
    seed: cli.Seed = 0,
    jobs: cli.Jobs = None,
    budget: cli.Budget = None,
    cluster: cli.Cluster = None,
    blend: cli.Blend = "auto",
    refit: cli.Refit = 0,
) -> None:
    """Cross-validate, blend and write submission.csv.

    The file is updated whenever another model is complete. Finished folds are kept and not trained again. A
    practice submission does not replace a submission for Kaggle in submissions/submission.csv.
    """
    from competition.cli import submit

    submit.submit(RunOptions(competition, models, folds, seed, jobs, budget, cluster, blend, refit))


@command(app)
def report(
    competition: cli.Competition = "digits",
    models: cli.Models = None,
    folds: cli.Folds = 5,
    seed: cli.Seed = 0,
    blend: cli.Blend = "auto",
    refit: cli.ReportRefit = 0,
) -> None:
    """Write an HTML report.

    It shows scores, learning curves, the confusion matrix and the hardest rows.
    """
    from competition.cli import views

    views.report(RunOptions(competition, models, folds, seed, blend=blend, refit=refit))


@command(app)
def tensorboard(
    competition: cli.Competition = "digits", folds: cli.Folds = 5, seed: cli.Seed = 0, port: cli.Port = 8000
) -> None:
    """Serve TensorBoard for past and current training runs.

    Prints the address of the page.
    """
    from competition.cli import views

    views.tensorboard(RunOptions(competition, (), folds, seed), port)


@command(app)
def tune(
    competition: cli.Competition = "digits",
    models: cli.Models = None,
    folds: cli.Folds = 5,
    seed: cli.Seed = 0,
    jobs: cli.Jobs = None,
    budget: cli.Budget = None,
    cluster: cli.Cluster = None,
    trials: cli.Trials = 30,
    storage: cli.Storage = None,
) -> None:
    """Search for better hyperparameters of each model.

    They are accepted if a second split confirms that they are better; then the next run uses them.
    """
    from competition.cli import tune

    tune.tune(RunOptions(competition, models, folds, seed, jobs, budget, cluster), trials, storage)


@command(app)
def dashboard(competition: cli.Competition = "digits", storage: cli.Storage = None) -> None:
    """Serve optuna-dashboard for the studies.

    Prints the address of the page.
    """
    from competition.cli import tune

    tune.dashboard(competition, storage)


@command(app, "check-augmentation")
def check_augmentation(
    competition: cli.Competition = "digits", models: cli.Models = None, folds: cli.Folds = 5, seed: cli.Seed = 0
) -> None:
    """Measure which augmentations change the class.

    The first image model in --models predicts transformed images that it was not trained on.
    """
    from competition.cli import check

    check.check_augmentation(RunOptions(competition, models, folds, seed))


@command(app)
def grade(competition: cli.Competition = "digits", file: cli.File = None) -> None:
    """Evaluate a submission on held-back test labels.

    Only practice competitions have them. Evaluations are counted: choose by out-of-fold scores and evaluate once.
    """
    from competition.cli import submissions

    submissions.grade(competition, file)


@command(app)
def predict(
    files: cli.Files,
    competition: cli.Competition = "digits",
    number: cli.Number = None,
    jobs: cli.LocalJobs = None,
    json: cli.Json = False,
) -> None:
    """Predict images with a submission's blend; print CSV.

    Images are files (PNG, JPEG, TIFF, BMP, GIF, WebP), folders of them, or CSV files of pixels.
    """
    from competition.cli import submissions

    submissions.predict(files, competition, number, jobs, json)


@command(app)
def demo(competition: cli.Competition = "digits", number: cli.Number = None, port: cli.Port = 8000) -> None:
    """Serve a page to draw on.

    The members of a submission predict the class of what is drawn. Only this machine can open the page.
    """
    from competition.cli import views

    views.demo(competition, number, port)


@command(app)
def reproduce(
    competition: cli.Competition = "digits",
    number: cli.Number = None,
    jobs: cli.Jobs = None,
    cluster: cli.Cluster = None,
) -> None:
    """Reproduce a submission and compare it byte for byte.

    Missing folds are trained first.
    """
    from competition.cli import submissions

    submissions.reproduce(competition, number, jobs, cluster)


@command(app, "import")
def import_predictions(
    name: cli.ImportedName,
    oof: cli.OutOfFold,
    test: cli.Test,
    split: cli.Split = None,
    competition: cli.Competition = "digits",
    folds: cli.Folds = 5,
    seed: cli.Seed = 0,
) -> None:
    """Import predictions made elsewhere as member @NAME.

    Out-of-fold and test probabilities are checked; they must come from the same split.
    """
    from competition.cli import exchange

    exchange.import_predictions(RunOptions(competition, (), folds, seed), name, oof, test, split)


@command(app)
def export(
    competition: cli.Competition = "digits", models: cli.Models = None, folds: cli.Folds = 5, seed: cli.Seed = 0
) -> None:
    """Write the predictions of models as CSV files.

    These are the out-of-fold and the test predictions of each model in --models.
    """
    from competition.cli import exchange

    exchange.export(RunOptions(competition, models, folds, seed))


@command(app, "export-onnx")
def export_onnx(competition: cli.Competition = "digits", number: cli.Number = None) -> None:
    """Export the networks of a blend as one ONNX file.

    Its predictions are compared with theirs.
    """
    from competition.cli import exchange

    exchange.export_onnx(competition, number)


@command(app)
def upload(
    competition: cli.Competition = "digits",
    number: cli.Number = None,
    wait: cli.Wait = None,
    yes: cli.Yes = False,
) -> None:
    """Upload a submission to Kaggle; record its score.

    Asks first, waits for the score and compares it with the cross-validated one. A file that Kaggle already has is
    not uploaded again.
    """
    from competition.cli import upload

    upload.upload(competition, number, 300.0 if wait is None else wait, yes)


@command(app)
def kernel(
    competition: cli.Competition = "digits",
    models: cli.Models = None,
    folds: cli.Folds = 5,
    seed: cli.Seed = 0,
    budget: cli.Budget = None,
    blend: cli.Blend = "auto",
    refit: cli.Refit = 0,
    number: cli.Number = None,
    infer: cli.Infer = False,
    push: cli.Push = False,
) -> None:
    """Write a script that trains on Kaggle's machines.

    The script goes to kernels/COMPETITION/. It bundles this package, and makes a submission in a notebook without
    internet access, within 8 hours unless --budget says otherwise. With --push, it is pushed, and its predictions are
    imported as members @kaggle-MODEL; pushed again, it continues where the last session ended.
    """
    from competition.cli import kernel

    if infer:
        kernel.predict_on_kaggle(competition, number, push)
    else:
        options = RunOptions(competition, models, folds, seed, budget=budget, blend=blend, refit=refit)
        kernel.train_on_kaggle(options, push)


@command(app, "record-score")
def record_score(value: cli.Value, competition: cli.Competition = "digits", number: cli.Number = None) -> None:
    """Record a submission's leaderboard score.

    Compares it with the cross-validated score.
    """
    from competition.cli import submissions

    submissions.record_score(competition, number, value)


@command(app)
def scheduler() -> None:
    """Start a Dask scheduler for workers on any machine.

    Runs until Ctrl-C.
    """
    from competition.cli import cluster

    cluster.scheduler()


@command(app)
def worker(cluster: cli.SchedulerAddress = None, jobs: cli.LocalJobs = None) -> None:
    """Run workers of a cluster on this machine.

    They use its cores and GPUs until Ctrl-C.
    """
    from competition.cli import cluster as workers

    workers.worker(cluster, jobs)
