"""Better settings of the models."""

import argparse
import math
import time
from typing import TYPE_CHECKING

from competition.problem import Problem
from competition.session import FOLDS, alarm, members_of, metric_of, open_store, require_rows, rules_of, workers_of

if TYPE_CHECKING:
    from competition.campaign import Search
    from competition.compute import Say
    from competition.models import Member
    from competition.store import Store

LEAST_WEIGHT = 0.05  # in the blend, that a model is thought to have: tuning may raise it


def tune(options: argparse.Namespace) -> None:
    """Search for better settings of each model, and adopt what is proved on another split."""
    from competition import terminal
    from competition.campaign import Place, Search, turns
    from competition.folds import frozen
    from competition.studies import open_storage, stored

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
        terminal.searching() as hear,
    ):
        place = Place(options.competition, *told, store.dataset, store.folds, other, workers, storage)
        searches = [Search(place, member, options.trials, weights[member.name]) for member in kinds.values()]
        for search, trials, until in turns(searches, end):
            for trial in search.run(trials, until, hear):
                terminal.console.print(terminal.tried(search, trial, sum(one.left() for one in searches)))
        for search in searches:
            _decide(options, search, hear, end)


def _decide(options: argparse.Namespace, search: "Search", hear: "Say", end: float) -> None:
    """Judge what a search found, adopt what is proved, and show on what grounds."""
    from dataclasses import asdict
    from datetime import date

    from competition import plots, terminal
    from competition.adoption import winner
    from competition.parameters import adopt
    from competition.progress import clock

    folder, kind = FOLDS / options.competition, search.member.kind
    if page := plots.write(search.study, folder / "tuning" / f"{kind}.html"):
        terminal.console.print(f"{page} shows the search")
    if not search.candidates:
        told = f"{kind}: nothing better was found in {search.tried} trials"
        if waiting := search.total - search.tried:
            needed = clock(search.left() + search.judging_seconds())
            told += f"; the {waiting} others and a judgement take about {needed}: give it a BUDGET of as much"
        terminal.console.print(told)
        return
    if time.monotonic() + search.judging_seconds() > end:
        needed = clock(search.judging_seconds())
        terminal.console.print(f"{kind}: no time is left to judge what was found; give it a BUDGET of {needed} or more")
        return
    terminal.console.print(f"{kind}: judging the best on {search.place.other_folds.name} ...")
    names = {str(trial.params): f"trial {trial.number}" for trial in search.candidates}
    for trial in search.judge(hear):
        terminal.console.print(f"{kind} {names.get(str(trial.params), 'at present')}: {terminal.ended(trial)}")
    verdicts = search.verdicts()
    if not verdicts:
        terminal.console.print(f"{kind}: what was to be compared failed, as told above; nothing is decided")
        return
    terminal.console.print(terminal.verdicts(search, verdicts))
    if proved := winner(verdicts):
        evidence = asdict(proved) | {"study": search.study.name, "date": date.today().isoformat()}
        path = adopt(folder, search.member, evidence)
        terminal.console.print(f"{kind}: adopted, in {path}; the next `make cv MODELS={kind}` trains with it")
    else:
        terminal.console.print(f"{kind}: none is better beyond noise and as often right; the present settings stay")


def _weights(store: "Store", members: "list[Member]") -> dict[str, float]:
    """What each has in their blend, as far as they are cross-validated; all alike where that is not known."""
    from competition import ensemble

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
