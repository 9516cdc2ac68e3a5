"""What comes from elsewhere, and what others can take away."""

import argparse

from competition.cli.session import FOLDS, member_of, metric_of, open_store, open_submission
from competition.errors import Problem


def take_in(options: argparse.Namespace) -> None:
    """Take in out-of-fold and test probabilities from elsewhere as a member, @NAME, once they are checked."""
    from competition.crossval import exchange
    from competition.models.member import Member
    from competition.views.terminal.screen import console

    store = open_store(options)
    member = Member.named(f"@{options.name}")
    files = options.oof, options.test, options.split
    store.take_in(member, list(exchange.read(*files, store.dataset, store.folds)))
    metric = metric_of(options)
    score = metric.told(metric.score(store.dataset.labels, store.predictions(member).oof))
    console.print(f'{member.name}: {score} out of fold; blend it: make submit MODELS="quick {member.name}"')


def export(options: argparse.Namespace) -> None:
    """Write the first model's out-of-fold and test probabilities as tables, the split included."""
    from competition.crossval import exchange

    store = open_store(options)
    member = member_of(options, options.models[0])
    predictions = store.predictions(member)
    if not predictions.complete:
        raise Problem(f"{member.name} is not complete; run `make cv MODELS={member.name}`")
    folder = FOLDS / options.competition / store.folds.name / member.name
    for path in exchange.write(predictions, store.dataset, store.folds, folder):
        print(path)


def export_onnx(options: argparse.Namespace) -> None:
    """Write the networks of a submission's blend as one ONNX file, and hold it against them."""
    from importlib.util import find_spec

    if not (find_spec("tf2onnx") and find_spec("onnxruntime")):
        raise Problem("it needs tf2onnx; run `make onnx`, or: pip install -r requirements-onnx.txt")
    from competition.deploy import onnx

    entry, store, members = open_submission(options)
    left_out = [member.name for member in members if not member.spec.is_network]
    print("making one file of the networks, which takes a minute or two ...", flush=True)
    made = onnx.write(entry.folder / "blend.onnx", store, members, entry.card["blender"])
    print(f"{made.path}: {made.networks} networks" + (f"; without {', '.join(left_out)}" if left_out else ""))
    print(f"on {made.rows:,} test rows within {made.difference:.0e} of the same networks in float32,")
    print(f"{made.other_labels} labelled otherwise than by them as trained; {made.images_per_second:,.0f} images/s")
    height, width, channels = store.dataset.images.shape[1:]
    print(f"it takes `images`, bytes of shape (any, {height}, {width}, {channels}), and gives `probabilities`")
