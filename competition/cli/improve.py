"""Better settings of the models."""

import argparse
import math
import time
from typing import TYPE_CHECKING

from competition.cli.session import FOLDS, alarm, members_of, metric_of, open_store, require_rows, rules_of, workers_of
from competition.errors import Problem

if TYPE_CHECKING:
    from competition.crossval.store import Store
    from competition.models.member import Member
    from competition.tuning.search import Search
    from competition.workers.base import Say

LEAST_WEIGHT = 0.05  # in the blend, that a model is thought to have: tuning may raise it


def tune(options: argparse.Namespace) -> None:
    """Search for better settings of each model, and adopt what is proved on another split."""
    from competition.crossval.folds import frozen
    from competition.tuning.search import Place, Search, turns
    from competition.tuning.storage import open_storage, stored
    from competition.views.terminal import live, searches
    from competition.views.terminal.screen import console

    store = open_store(options)
    other = frozen(store.dataset, store.folder, options.folds, options.seed + 1)
    told = metric_of(options), rules_of(options)
    kinds = {member.kind: member for member in members_of(options) if not member.imported and member.seed == 0}
    if not kinds:
        raise Problem("nothing to tune: name models without a seed, such as MODELS=quick")
    require_rows(store, list(kinds.values()))
    weights = _weights(store, list(kinds.values()))
    end = time.monotonic() + (options.budget or math.inf)
    with (
        stored(options.storage, store.folder),
        open_storage(options.storage, store.folder) as storage,
        workers_of(options) as workers,
        alarm(options.budget),
        live.searching() as hear,
    ):
        place = Place(options.competition, *told, store.dataset, store.folds, other, workers, storage)
        started = [Search(place, member, options.trials, weights[member.name]) for member in kinds.values()]
        for search, trials, until in turns(started, end):
            for trial in search.run(trials, until, hear):
                console.print(searches.tried(search, trial, sum(one.left() for one in started)))
        for search in started:
            _decide(options, search, hear, end)


def _decide(options: argparse.Namespace, search: "Search", hear: "Say", end: float) -> None:
    """Judge what a search found, adopt what is proved, and show on what grounds."""
    from dataclasses import asdict
    from datetime import date

    from competition.crossval.progress import clock
    from competition.models.hyperparameters import adopt
    from competition.tuning import plots
    from competition.tuning.validation import winner
    from competition.views.terminal import searches
    from competition.views.terminal.screen import console

    folder, kind = FOLDS / options.competition, search.member.kind
    if page := plots.write(search.study, folder / "tuning" / f"{kind}.html"):
        console.print(f"{page} shows the search")
    if not search.candidates:
        told = f"{kind}: nothing better was found in {search.tried} trials"
        if waiting := search.total - search.tried:
            needed = clock(search.left() + search.judging_seconds())
            told += f"; the {waiting} others and a judgement take about {needed}: give it a BUDGET of as much"
        console.print(told)
        return
    if time.monotonic() + search.judging_seconds() > end:
        needed = clock(search.judging_seconds())
        console.print(f"{kind}: no time is left to judge what was found; give it a BUDGET of {needed} or more")
        return
    console.print(f"{kind}: judging the best on {search.place.other_folds.name} ...")
    names = {str(trial.params): f"trial {trial.number}" for trial in search.candidates}
    for trial in search.judge(hear):
        console.print(f"{kind} {names.get(str(trial.params), 'at present')}: {searches.ended(trial)}")
    verdicts = search.verdicts()
    if not verdicts:
        console.print(f"{kind}: what was to be compared failed, as told above; nothing is decided")
        return
    console.print(searches.verdicts(search, verdicts))
    if proved := winner(verdicts):
        evidence = asdict(proved) | {"study": search.study.name, "date": date.today().isoformat()}
        path = adopt(folder, search.member, evidence)
        console.print(f"{kind}: adopted, in {path}; the next `make cv MODELS={kind}` trains with it")
    else:
        console.print(f"{kind}: none is better beyond noise and as often right; the present settings stay")


def _weights(store: "Store", members: "list[Member]") -> dict[str, float]:
    """What each has in their blend, as far as they are cross-validated; all alike where that is not known."""
    from competition.ensemble import blend as ensemble

    complete = [found for found in map(store.predictions, members) if found.complete]
    if len(complete) < len(members) or len(members) < 2:
        return {member.name: 1.0 for member in members}
    blend = ensemble.blend(complete, store.dataset.labels, store.folds.held_out, "convex")
    found = zip(blend.members, blend.combination.weights, strict=True)
    return {name: max(weight, LEAST_WEIGHT) for name, weight in found}


def dashboard(options: argparse.Namespace) -> None:
    """Open optuna-dashboard on the studies, in a browser at the address that it tells."""
    import shutil
    import subprocess
    import sys
    from pathlib import Path

    server = shutil.which("optuna-dashboard", path=Path(sys.executable).parent)
    if not server:
        raise Problem("optuna-dashboard is not installed; run: pip install -r requirements-tune.txt")
    studies = FOLDS / options.competition / "studies.db"
    if not options.storage and not studies.exists():
        raise Problem(f"{studies} is missing; run `make tune COMPETITION={options.competition}` first")
    # In a session of its own, so that Ctrl-C is ours and it need not tell of it.
    subprocess.run([server, options.storage or f"sqlite:///{studies}"], check=False, start_new_session=True)
