"""Commands that import predictions and export predictions and models."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from competition.cli.run import (
    DATA,
    RunOptions,
    load_submission,
    open_competition,
    open_extractor,
    open_run,
    open_store,
)
from competition.errors import UserError, missing_extra

if TYPE_CHECKING:
    from competition.crossval.store import Store
    from competition.deploy.onnx import Pretrained
    from competition.models.member import Member


def import_predictions(options: RunOptions, name: str, oof: Path, test: Path, split: Path | None) -> None:
    """Check out-of-fold and test probabilities made elsewhere, and import them as the member @NAME."""
    from competition.crossval import exchange
    from competition.models.member import Member
    from competition.scoring.standard_error import repeated_groups
    from competition.views.terminal.screen import console

    member = Member.imported(name.removeprefix("@"))
    competition = open_competition(options.competition)
    store, metric = open_store(competition, options.folds, options.seed), competition.metric()
    store.import_predictions(member, list(exchange.read_predictions(oof, test, split, store.dataset, store.folds)))
    score = metric.format(
        metric.score(store.dataset.labels, store.predictions(member).oof, repeated_groups(store.dataset.groups))
    )
    example = store.command("submit", models=f"quick {member.name}")
    console.print(f"{member.name}: {score} out of fold; to blend it: {example}")


def export(options: RunOptions) -> None:
    """Write the folds and the out-of-fold and test probabilities of each model as CSV files."""
    from competition.crossval import exchange

    run = open_run(options)
    store, members = run.store, run.members
    predictions = [store.predictions(member) for member in members]
    if incomplete := [each.member for each in predictions if not each.complete]:
        remedy = store.command("cv", models=" ".join(incomplete))
        raise UserError(f"{incomplete[0]} is not complete; run `{remedy}`")
    for each in predictions:
        folder = run.competition.folds_folder / store.folds.name / each.member
        for path in exchange.write_predictions(each, store.dataset, store.folds, folder):
            print(path)


def export_onnx(competition: str, number: int | None) -> None:
    """Export the networks of a submission's blend as one ONNX file, and compare its predictions with theirs."""
    from importlib.util import find_spec

    if not (find_spec("tf2onnx") and find_spec("onnxruntime")):
        raise missing_extra("tf2onnx", "onnx")
    from competition.deploy import onnx

    submission = load_submission(competition, number)
    store, members = submission.store, submission.members
    pretrained = _open_pretrained(store, members)
    print("exporting the networks, which takes a minute or two ...", flush=True)
    model = onnx.export_blend(submission.entry.folder / "blend.onnx", store, members, submission.blender, pretrained)
    print(
        f"{model.path}: {model.networks} networks"
        + (f"; left out: {', '.join(model.left_out)}" if model.left_out else "")
    )
    print(f"largest difference from the Keras networks in float32, on {model.rows:,} test rows: {model.difference:.0e}")
    print(f"rows whose predicted label differs from the original networks: {model.changed_labels}")
    print(f"speed: {model.images_per_second:,.0f} images/s")
    shown = ", ".join(f"`{name}`, uint8 of shape (batch, {h}, {w}, {c})" for name, (h, w, c) in model.inputs.items())
    print(f"input: {shown}; output: `probabilities`")


def _open_pretrained(store: "Store", members: "Sequence[Member]") -> "Pretrained | None":
    """The pretrained network and the first test images at its size; None if no member learns from it."""
    from competition.crossval.extraction import Extraction, read_test_images
    from competition.data.config import read_config
    from competition.deploy.onnx import MAX_PICTURES, Pretrained

    if not (extractor := open_extractor(store, members)):
        return None
    folder = DATA / store.folder.name
    extraction = Extraction(extractor, folder, read_config(folder))
    return Pretrained(extractor, read_test_images(extraction, store.dataset, MAX_PICTURES))
