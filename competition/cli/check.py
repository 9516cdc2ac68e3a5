"""Commands that check a competition before training, and models after it."""

from competition.cli.run import FOLDS, RunOptions, choose_members, extraction_seconds, open_competition, open_run
from competition.errors import UserError, option


def check_augmentation(options: RunOptions) -> None:
    """Measure which augmentations change the class of held-out images, by the first image model."""
    from competition.checks import augmentations
    from competition.models.interface import RowSubset
    from competition.views.terminal.checks import effects_table
    from competition.views.terminal.screen import console

    run = open_run(options)
    run.competition.require_classes("check-augmentation")
    on_images = [member for member in run.members if run.store.trained_as(member).spec.inputs == "images"]
    if not on_images:
        raise UserError(f"check-augmentation needs a model that learns from images, e.g. {option('models', 'quick')}")
    member, fold = on_images[0], 0
    held_out = run.store.folds.held_out == fold
    images, labels = RowSubset(run.dataset.images, held_out), run.dataset.labels[held_out]
    effects = augmentations.measure_effects(run.store.load_model(member, fold), images, labels)
    console.print(effects_table(list(effects), run.dataset.classes))


def doctor(options: RunOptions) -> None:
    """Check data and machine before a long run: duplicates, distribution shift, label errors, memory, disk, time."""
    import json

    from competition.checks import doctor
    from competition.checks.machine_speed import measure_gflops
    from competition.crossval.folds import make_folds, require_folds
    from competition.crossval.store import Store
    from competition.files import write_atomically
    from competition.views.report.findings import write_findings
    from competition.views.terminal.checks import finding_line
    from competition.views.terminal.screen import console
    from competition.workers.local import LocalWorkers

    competition, folds = open_competition(options.competition), options.folds
    dataset, folder = competition.dataset, competition.folds_folder
    require_folds(folds)
    complete = []
    try:
        split = make_folds(dataset, folds, options.seed)
    except UserError as error:  # there are no predictions either
        print(f"the rows cannot be split: {error}")
        members = competition.members(options.models)
    else:
        store = Store(folder, dataset, split)
        members = choose_members(competition, store, options.models)
        complete = [predictions for predictions in map(store.predictions, members) if predictions.complete]
    jobs, gflops = LocalWorkers(options.jobs).jobs, measure_gflops()["float32"]
    plan = doctor.Plan(members, folds, jobs, gflops, FOLDS.parent, extraction_seconds(competition, members))
    findings = []
    for finding in doctor.run_checks(dataset, complete, plan):
        console.print(finding_line(finding, dataset))
        findings.append(finding)
    write_atomically(folder / "doctor.json", json.dumps(doctor.findings_to_json(dataset, findings), indent=1).encode())
    page = write_findings(folder / "doctor.html", competition.name, dataset, findings)
    print(f"images: {page}; all findings as JSON: {folder / 'doctor.json'}")
