"""The report's tables of submissions, and of what is needed to make the results again."""

import platform

from competition.errors import command
from competition.models.backend import keras_backend
from competition.models.libraries import installed_version
from competition.scoring.standard_error import Score
from competition.submission.log import git_state
from competition.views.html import html_table
from competition.views.report.data import ReportData
from competition.views.report.summary import format_value

LIBRARIES = ("keras", "scikit-learn", "numpy", "optuna")


def submissions_table(data: ReportData) -> str:
    """Every logged submission by this metric, with its scores, latest first."""
    log, metric = data.submissions[data.submissions["metric"] == data.metric.name], data.metric
    rows = []
    for _, row in log.iloc[::-1].iterrows():
        cv = metric.format(Score(float(row["cv"]), float(row["cv_standard_error"])))
        scores = [
            format_value(metric, float(row[column])) if row[column] else "" for column in ("held_back", "leaderboard")
        ]
        members = row["members"] + (", trained on all rows" if data.refits.get(row["number"]) else "")
        rows.append((row["number"], row["when"][:16].replace("T", " "), members, row["blender"], cv, *scores))
    if not rows:
        return ""
    head = ("number", "when", "members", "blend", f"{metric.name} out of fold", "held back", "leaderboard")
    return html_table("Submissions", head, rows, "full")


def provenance_table(data: ReportData) -> str:
    """What is needed to make these results again."""
    store, dataset, git = data.store, data.store.dataset, git_state()
    rows = f"{len(dataset.labels):,} training rows, {len(dataset.test_ids):,} test rows"
    commit = git["commit"][:12] + (", with edits that are not committed" if git["edited"] else "") if git else "unknown"
    facts = [
        ("command", data.submit_command(data.blend.members)),
        ("commit", commit),
        ("data", f"{rows}; SHA-256 {dataset.digest[:16]}"),
        ("split", f"{store.folds.name}; SHA-256 {store.folds.digest[:16]}"),
        ("python", f"{platform.python_version()}, {platform.system()} {platform.machine()}"),
        (
            "libraries",
            ", ".join(f"{library} {installed_version(library)}" for library in (keras_backend(), *LIBRARIES)),
        ),
    ]
    if data.submission is not None:
        number = data.submission["number"]
        again = command("reproduce", number=number, competition=store.folder.name)
        facts.insert(1, ("submission", f"{number}; to make it again: {again}"))
    return html_table("Provenance", ("property", "value"), facts, "full text")


def recipes_table(data: ReportData) -> str:
    """Fingerprint and recipe of each member."""
    rows = [(member.member, member.fingerprint[:16], data.recipes.get(member.member, "")) for member in data.members]
    return html_table("Recipes", ("member", "fingerprint", "recipe"), rows, "full text recipes")
