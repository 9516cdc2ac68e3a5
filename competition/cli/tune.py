"""Commands that search for better hyperparameters."""

import math
import time
from typing import TYPE_CHECKING

from competition.cli.run import FOLDS, Run, RunOptions, open_run
from competition.cli.servers import wait_for_server
from competition.cli.train import open_workers, prepare_features, require_class_rows, time_limit
from competition.errors import UserError, command, missing_extra, option

if TYPE_CHECKING:
    from competition.crossval.store import Store
    from competition.models.member import Member
    from competition.tuning.search import Search
    from competition.workers.events import OnEvent

MIN_TUNING_WEIGHT = 0.05  # of a model in the blend: tuning may raise the weight of a model that has none yet


def tune(options: RunOptions, trials: int, storage: str | None) -> None:
    """Search for better hyperparameters of each model, and accept those that are better on a second split."""
    from competition.crossval.folds import load_or_make_folds
    from competition.tuning.search import Search, SearchContext, schedule_searches
    from competition.tuning.storage import explain_storage_errors, open_storage
    from competition.views.terminal import live, searches
    from competition.views.terminal.screen import console

    run = open_run(options)
    store, config = run.store, run.competition.config
    second_split = load_or_make_folds(store.dataset, store.folder, options.folds, options.seed + 1)
    members = list(
        {member.kind: member for member in run.members if not member.is_imported and member.seed == 0}.values()
    )
    if not members:
        raise UserError(f"nothing to tune; name models without a seed, e.g. {option('models', 'quick')}")
    require_class_rows(store, members)
    end = time.monotonic() + (run.budget or math.inf)
    with time_limit(run.budget):
        prepare_features(run)
        weights = _blend_weights(store, members)
        with (
            explain_storage_errors(storage, store.folder),
            open_storage(storage, store.folder) as opened,
            open_workers(run) as workers,
            live.show_search() as on_event,
        ):
            context = SearchContext(
                options.competition, config, store.dataset, opened, store.folds, second_split, run.metric, workers
            )
            started = [Search(context, member, trials, weights[member.name]) for member in members]
            for search, count, deadline in schedule_searches(started, end):
                for trial in search.run(count, deadline, on_event):
                    left = sum(other.remaining_seconds() for other in started)
                    console.print(searches.trial_line(search, trial, left))
            for search in started:
                _validate_search(run, search, on_event, end)


def _validate_search(run: Run, search: "Search", on_event: "OnEvent", end: float) -> None:
    """Validate the best trials of a search if there is time for it, and accept the best one that is confirmed."""
    from competition.tuning import plots
    from competition.views.terminal import searches
    from competition.views.terminal.screen import console

    kind = search.member.kind
    if page := plots.write_plots(search.study, run.competition.folds_folder / "tuning" / f"{kind}.html"):
        console.print(f"plots of the search: {page}")
    if not search.candidates:
        text = f"{kind}: no better hyperparameters found in {search.trial_count} trials"
        if (remaining := search.max_trials - search.trial_count) > 0:
            needed = search.remaining_seconds() + search.validation_seconds()
            text += f"; for the remaining {remaining} trials and the validation, set {budget_option(needed)} or more"
        console.print(text)
        return
    if time.monotonic() + search.validation_seconds() > end:
        budget = budget_option(search.validation_seconds())
        console.print(f"{kind}: no time left to validate the best trials; set {budget} or more")
        return
    console.print(f"{kind}: validating the best trials on {search.context.validation_folds.name} ...")
    names = {str(trial.params): f"trial {trial.number}" for trial in search.candidates}
    for trial in search.validate_candidates(on_event):
        # Others are candidates of an interrupted search, or of another driver.
        is_current = trial.params == search.validation_study.current
        name = "current defaults" if is_current else names.get(str(trial.params), "earlier candidate")
        console.print(f"{kind} {name}: {searches.trial_result(trial)}")
    _accept_validated(run, search)


def budget_option(seconds: float) -> str:
    """The option that sets this time limit, in whole minutes."""
    return option("budget", f"{max(1, math.ceil(seconds / 60))}m")


def _accept_validated(run: Run, search: "Search") -> None:
    """Save the hyperparameters that validation confirmed, if any, with the evidence for them."""
    from dataclasses import asdict
    from datetime import date

    from competition.models.hyperparameters import save_tuned
    from competition.tuning.validation import best_validated
    from competition.views.terminal import searches
    from competition.views.terminal.screen import console

    kind, results = search.member.kind, search.validation_results()
    if not results:
        console.print(f"{kind}: validation failed, see above; the current defaults stay")
        return
    if best := best_validated(results):
        evidence = asdict(best) | {"study": search.study.name, "date": date.today().isoformat()}
        path = save_tuned(run.competition.folds_folder, search.member, evidence)
        outcome = f"accepted, saved to {path}; the next `{run.store.command('cv', models=kind)}` uses it"
    else:
        outcome = "no trial is significantly better without more errors; the current defaults stay"
    console.print(searches.validation_table(search, results))
    console.print(f"{kind}: {outcome}")


def _blend_weights(store: "Store", members: "list[Member]") -> dict[str, float]:
    """Each member's weight in their blend; equal weights unless all are cross-validated."""
    from competition.data.targets import target_kind
    from competition.ensemble import blend as ensemble
    from competition.ensemble.blenders import weighted_blender

    complete = [predictions for predictions in map(store.predictions, members) if predictions.complete]
    if len(complete) < len(members) or len(members) < 2:
        return {member.name: 1.0 for member in members}
    labels = store.dataset.labels
    blend = ensemble.blend(complete, labels, store.folds.held_out, weighted_blender(target_kind(labels)))
    weights = zip(blend.members, blend.combination.weights, strict=True)
    return {name: max(weight, MIN_TUNING_WEIGHT) for name, weight in weights}


def dashboard(competition: str, storage: str | None) -> None:
    """Serve optuna-dashboard for the studies, at the address that it prints."""
    import shutil
    import subprocess
    import sys
    from pathlib import Path

    server = shutil.which("optuna-dashboard", path=Path(sys.executable).parent)
    if not server:
        raise missing_extra("optuna-dashboard", "tune")
    studies = FOLDS / competition / "studies.db"
    if not storage and not studies.exists():
        raise UserError(f"{studies} is missing; run `{command('tune', competition=competition)}` first")
    process = subprocess.Popen([server, storage or f"sqlite:///{studies}"], start_new_session=True)
    wait_for_server(process, "optuna-dashboard")
