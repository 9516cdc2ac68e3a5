"""The command that trains in a Kaggle notebook: it writes the script, pushes it and fetches the outputs."""

import json
import shlex
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from competition.cli.run import (
    DATA,
    FOLDS,
    Competition,
    RunOptions,
    download_extractor,
    is_practice_competition,
    load_submission,
    open_competition,
    open_extractor,
    open_store,
)
from competition.data.config import PretrainedNetwork, read_config
from competition.errors import DiskError, UserError, command, first_line, flag, move_away, option, shorten_list

if TYPE_CHECKING:
    from competition.crossval.store import Store
    from competition.models.member import Member
    from competition.models.pretrained.extractor import Extractor

KERNELS = Path("kernels")
SHARED_OPTIONS = ("competition", "models", "folds", "seed", "blend", "budget", "refit")
UNKNOWN_OWNER = "YOUR-KAGGLE-NAME"
PUSHED_FILE = "pushed.json"  # folds and seed of a session whose outputs are not fetched yet
LOG_LINES = 3  # that are shown of a running session
MAX_LOG_LINES = 100_000
NAME_CHARACTERS = str.maketrans(":.", "--")  # of members; the names of imported ones have neither


def train_on_kaggle(options: RunOptions, push: bool) -> None:
    """Write a folder with a script that trains on Kaggle; push it and fetch its predictions if requested."""
    from competition.deploy import kaggle_kernels
    from competition.deploy.kernel import METADATA_FILE, kernel_slug

    competition = options.competition
    _reject_practice(competition)
    folder = KERNELS / competition
    address = f"{_owner(competition, push, folder)}/{kernel_slug(competition)}"
    if push and (folder / PUSHED_FILE).exists():
        folds, seed = _pushed_split(folder)
        options = replace(options, folds=folds, seed=seed)
        split = f"{option('folds', folds)} {option('seed', seed)}"
        print(
            f"{address} was pushed before, with {split}; its outputs are fetched first, and it is not pushed again",
            flush=True,
        )
    else:
        _write(options, folder, address, continues=push and kaggle_kernels.has_earlier_session(address, competition))
        if not push:
            print(f"push it: {_command(options)} {flag('push')}")
            return
        for dataset in json.loads((folder / METADATA_FILE).read_text())["dataset_sources"]:
            kaggle_kernels.push_dataset(folder / "dataset", dataset, competition)
        _push(folder, competition, {"folds": options.folds, "seed": options.seed})
    failure = _wait(address, competition, folder)
    _import_output(options, folder, failure)


def _command(options: RunOptions) -> str:
    """The command that writes the script of these options."""
    models = " ".join(options.models) if options.models else None
    budget = f"{options.budget:.0f}s" if options.budget else None
    given = {name: getattr(options, name) for name in SHARED_OPTIONS} | {"models": models, "budget": budget}
    return command("kernel", **given)


def predict_on_kaggle(competition: str, number: int | None, push: bool) -> None:
    """Write a data set of a submission's models and a script that predicts with them; push both if requested."""
    from competition.deploy import kaggle_kernels
    from competition.deploy.kernel import KernelSpec, kernel_slug, settings_files, write_kernel
    from competition.deploy.model_pack import PACK_FILE, write_pack
    from competition.deploy.predict import fit_blend
    from competition.files import sha256

    _reject_practice(competition)
    _reject_custom_metric(competition)
    submission = load_submission(competition, number)
    folder = KERNELS / f"{competition}-infer"
    owner = _owner(competition, push, folder)
    kernel, dataset = (f"{owner}/{kernel_slug(competition, purpose)}" for purpose in ("-infer", "-models"))
    if push and (folder / PUSHED_FILE).exists():
        print(f"{kernel} was pushed before; its outputs are fetched first, and it is not pushed again", flush=True)
    else:
        store, pack = submission.store, folder / "dataset" / PACK_FILE
        blend = fit_blend(store, submission.members, submission.blender, submission.label_metric)
        write_pack(pack, store, blend, open_extractor(store, list(blend.positions)))
        kaggle_kernels.write_dataset_metadata(pack.parent, dataset)
        settings = {"competition": competition, "dataset": dataset, "pack": sha256(pack)}
        files = settings_files(DATA / competition, FOLDS / competition)
        script = write_kernel(folder, kernel, settings, files, KernelSpec("predict", datasets=(dataset,)))
        print(f"{pack}: {pack.stat().st_size:,} bytes\n{script}: {script.stat().st_size:,} bytes, for {kernel}")
        if not push:
            again = command("kernel", competition=competition, number=submission.entry.number)
            print(f"push both: {again} {flag('infer')} {flag('push')}")
            return
        kaggle_kernels.push_dataset(pack.parent, dataset, competition)
        _push(folder, competition, {})
    failure = _wait(kernel, competition, folder)
    (folder / PUSHED_FILE).unlink(missing_ok=True)
    if failure:
        raise UserError(failure)
    print(f"{folder / 'output' / 'submission.csv'}; in a code competition, submit the notebook on its page")


def _pushed_split(folder: Path) -> tuple[int, int]:
    """The folds and the seed of the session that was pushed."""
    path = folder / PUSHED_FILE
    try:
        split = json.loads(path.read_text())
        return int(split["folds"]), int(split["seed"])
    except (ValueError, TypeError, KeyError) as error:
        reason = first_line(error)
        raise UserError(f"{path} is damaged ({reason}); move it away to push again: {move_away(path)}") from None


def _write(options: RunOptions, folder: Path, address: str, continues: bool) -> None:
    """Write the script and its metadata."""
    from competition.deploy.kernel import KernelSpec, kernel_slug, settings_files, write_kernel
    from competition.deploy.pretrained_weights import write_weights

    _check_options(options)
    settings: dict[str, Any] = {name: value for name, value in asdict(options).items() if name in SHARED_OPTIONS}
    settings["models"] = list(options.models) if options.models else None
    files = settings_files(DATA / options.competition, FOLDS / options.competition)
    datasets: tuple[str, ...] = ()
    if extractor := _find_pretrained(options):
        dataset = f"{address.split('/')[0]}/{kernel_slug(options.competition, '-weights')}"
        settings["weights"] = write_weights(folder / "dataset", dataset, extractor, DATA)
        datasets = (dataset,)
    spec = KernelSpec("train", datasets, kernels=(address,) if continues else ())
    script = write_kernel(folder, address, settings, files, spec)
    print(f"{script}: {script.stat().st_size:,} bytes, for {address}", flush=True)


def _check_options(options: RunOptions) -> None:
    """Raise UserError for options that would fail in the session."""
    from competition.crossval.folds import require_folds
    from competition.ensemble.blend import check_blender
    from competition.models.member import Member
    from competition.models.registry import LISTS_OF_MODELS

    require_folds(options.folds)
    check_blender(options.blend, "class")  # of blenders for numbers, none is missing among these
    names = options.models or ()
    is_list = len(names) == 1 and names[0] in LISTS_OF_MODELS
    if not is_list and (imported := next((name for name in names if Member.parse(name).is_imported), None)):
        raise UserError(
            f"{imported} was imported, and cannot be trained on Kaggle; "
            f"blend it here: {command('submit', competition=options.competition, models=' '.join(names))}"
        )
    _reject_custom_metric(options.competition)


def _reject_custom_metric(competition: str) -> None:
    """Raise UserError if the metric is in a module of the user, which no script contains."""
    from competition.data.config import CONFIG_FILE

    folder = DATA / competition
    if ":" in (metric := read_config(folder).metric):
        raise UserError(
            f"{folder / CONFIG_FILE}: the metric {metric} is in a module of yours, which the script does not contain; "
            "remove it while you use Kaggle's machines: no model depends on it"
        )


def _find_pretrained(options: RunOptions) -> "Extractor | None":
    """The pretrained network from which members of the session learn; None if there are none."""
    from competition.models.member import Member
    from competition.models.registry import LISTS_OF_MODELS

    folder = DATA / options.competition
    if isinstance(read_config(folder).pretrained, PretrainedNetwork):  # its weights are part of the features' digest
        return download_extractor(folder)
    if options.models and not set(LISTS_OF_MODELS).intersection(options.models):
        members = [Member.parse(name) for name in options.models]
    elif folder.exists():
        members = list(open_competition(options.competition).members(options.models))
    else:
        return None
    return download_extractor(folder) if any(member.needs_pretrained for member in members) else None


def _push(folder: Path, competition: str, split: dict[str, int]) -> None:
    """Push the folder, and note that its outputs, of this split, are to be fetched."""
    from competition.deploy import kaggle_kernels
    from competition.files import write_atomically

    url = kaggle_kernels.push(folder, competition)
    write_atomically(folder / PUSHED_FILE, json.dumps(split).encode())
    print(f"pushed: {url}", flush=True)


def _wait(address: str, competition: str, folder: Path) -> str:
    """Print the status and the log's last lines until the session has ended, then fetch its outputs.

    Returns why the session failed; empty if it did not.
    """
    from competition.deploy import kaggle_kernels

    shown: tuple[str, list[str]] = "", []
    try:
        for session in kaggle_kernels.poll(address, competition):
            lines = kaggle_kernels.last_lines(session.log, LOG_LINES)
            if (session.status, lines) != shown:
                new = [line for line in lines if line not in shown[1]]
                print(session.status.lower(), *new, sep="\n  ", flush=True)
            shown = session.status, lines
    except kaggle_kernels.MissingKernelError:
        (folder / PUSHED_FILE).unlink(missing_ok=True)
        raise
    output = folder / "output"
    shutil.rmtree(output, ignore_errors=True)
    kaggle_kernels.fetch_output(address, competition, output)
    # The script ends without an error if it has made progress, since outputs of scripts that fail may be lost.
    errors = [line for line in kaggle_kernels.last_lines(session.log, MAX_LOG_LINES) if line.startswith("error: ")]
    if session.status == "COMPLETE" and not errors:
        return ""
    reason = session.failure or (errors[-1].removeprefix("error: ") if errors else "")
    reason = reason or (shown[1][-1] if shown[1] else "no reason is given")
    return f"the session on Kaggle failed: {reason}; the log is in {output}"


def _import_output(options: RunOptions, folder: Path, failure: str) -> None:
    """Import the fetched predictions as members that blend with those trained here, also of a session that failed.

    The session counts as fetched only afterwards, so that the same command tries again if the import fails.
    """
    competition, pushed = open_competition(options.competition), folder / PUSHED_FILE
    store = open_store(competition, options.folds, options.seed)
    try:
        members = import_members(store, folder / "output" / FOLDS / options.competition / store.folds.name)
    except DiskError:
        raise
    except UserError as error:
        discard = f"to discard these outputs and push again: {shlex.join(['rm', str(pushed)])}"
        raise UserError(f"{error}; run the same command again to retry the import; {discard}") from None
    pushed.unlink(missing_ok=True)
    _print_imported(competition, store, members)
    if failure or not members:
        raise UserError(failure or f"no member of {store.folds.name} was completed; push again to continue")


def import_members(store: "Store", folder: Path) -> "list[Member]":
    """Import all members of a split's folder that was made elsewhere and that are complete."""
    names = sorted(path.parent.name for path in folder.glob("*/fold-0.npz") if not path.parent.name.startswith("@"))
    complete = [
        name
        for name in names
        if all((folder / name / f"fold-{fold}.npz").exists() for fold in range(store.folds.count))
    ]
    return [store.import_folds(folder / name, f"kaggle-{name.translate(NAME_CHARACTERS)}") for name in complete]


def _print_imported(competition: Competition, store: "Store", members: "list[Member]") -> None:
    """Print the scores of the imported members, and how to blend them."""
    from competition.scoring.standard_error import repeated_groups

    if not members:
        return
    metric, labels, groups = competition.metric(), store.dataset.labels, repeated_groups(store.dataset.groups)
    for member in members:
        score = metric.score(labels, store.predictions(member).oof, groups)
        print(f"{member.name}: {metric.format(score)} out of fold")
    names = " ".join(member.name for member in members)
    print(f"to blend {shorten_list(names.split(), 3)}: {store.command('submit', models=names)}")


def _owner(competition: str, push: bool, folder: Path) -> str:
    """The user's name on Kaggle, or a placeholder if it is not needed and not known."""
    from competition.data.kaggle import has_credentials
    from competition.deploy.kaggle_kernels import find_username

    reason = "not logged in to Kaggle"
    if push or has_credentials():
        try:
            return find_username(competition)
        except UserError as error:
            if push:
                raise
            reason = str(error)
    print(f"{reason}; to push by hand, replace {UNKNOWN_OWNER} in the metadata files in {folder}", flush=True)
    return UNKNOWN_OWNER


def _reject_practice(competition: str) -> None:
    if is_practice_competition(competition):
        raise UserError(f"{competition} is a practice competition, which is not on Kaggle; choose one that is")
