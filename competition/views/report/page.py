"""The HTML report of cross-validation: a single file that needs no network."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from competition.crossval.progress import format_duration
from competition.files import write_atomically
from competition.views.html import image_class, render_page
from competition.views.report import charts, class_tables, model_tables, provenance
from competition.views.report.data import BLEND, ReportData
from competition.views.report.gallery import describe_shared_errors, hardest_rows
from competition.views.report.summary import summary

PAGE, GALLERY = Path(__file__).parent / "page.html", Path(__file__).parent / "gallery.html"

SCORES_TEXT = """
<p>All scores are out of fold; that of the blend is cross-fitted. ± is one standard error, and the shaded band that of
the blend. A model's contribution is what the blend would lose without it; grey if it is within the
standard error.</p>"""
DECISION_TEXT = """
<p>The blend predicts the labels with the highest expected {metric}; its most probable labels would score
{score}.</p>"""
CORRELATION_TEXT = """
<h3>Correlation of errors</h3>
<p>1: errors on the same rows, 0: independent. The less the errors of two models agree, the more a blend of them
gains.</p>"""
CONFUSION_TEXT = """
<h3>Confusion matrix</h3>
<p>Rows of each true class by the class that the blend predicts. Click an error count to see its images among the
hardest rows.</p>"""
SHARES_TEXT = """
<h3>Class distribution</h3>
<p>Shares of the <span class="key train"></span>training labels and of the <span class="key held"></span>predictions for
the test rows. A large difference hints at test rows that are unlike the training rows.</p>"""
CALIBRATION_TEXT = """
<p>On average, {confidence} and {accuracy} of the blend differ by {error} points. Each dot stands for predictions of
similar {confidence}, with a 95&nbsp;% range. On the diagonal the two agree; hollow dots stand for
{confidence} that is too high (below it) or too low (above it).</p>"""
CALIBRATION_TABLE_TEXT = """
<h3>By model</h3>
<p>The error is the mean difference of the two, in points. All blenders but the mean correct it first, by
temperatures or exponents.</p>"""
TRAINING_TEXT = """
<p>{loss} after each epoch, on <span class="key held"></span>held-out and <span class="key train"></span>training rows:
the median of the folds and their range. Point at the range to see single folds.</p>"""


@dataclass(frozen=True)
class Section:
    """A part of the page that the navigation links to."""

    id: str
    title: str
    content: str


def write_report(path: Path, data: ReportData) -> Path:
    """Write the report and return its path."""
    dataset = data.store.dataset
    sections = [section for section in _sections(data) if section.content]
    score = f"{data.metric.name} {data.metric.format(data.scores[BLEND])}"
    text = render_page(
        PAGE,
        escape(f"{data.store.folder.name}: {score} out of fold"),
        competition=escape(data.store.folder.name),
        subtitle=_subtitle(data),
        summary=summary(data),
        navigation="".join(f'<a href="#{section.id}">{section.title}</a>' for section in sections),
        sections="\n".join(f'<h2 id="{part.id}">{part.title}</h2>\n{part.content}' for part in sections),
        hard=_json(hardest_rows(data.members, data.blend, dataset)),
        classes=_json(data.class_names if data.kind == "class" else []),
        members=_json([member.member for member in data.members]),
        image_class=_json(image_class(dataset.images[0])),
        image_size=_json(dataset.images.shape[2:0:-1]),
    )
    write_atomically(path, text.encode())
    return path


def _subtitle(data: ReportData) -> str:
    store, dataset = data.store, data.store.dataset
    what = {
        "class": f"{len(dataset.classes)} classes",
        "labels": f"{len(dataset.classes)} labels",
        "number": "a number",
    }
    time = format_duration(sum(member.seconds for member in data.members))
    return (
        f"{dataset.summary}, {what[data.kind]}; "
        f"{len(data.members)} {'model' if len(data.members) == 1 else 'models'} in {store.folds.count} folds, "
        f"{time} of CPU time"
    )


def _sections(data: ReportData) -> list[Section]:
    return [
        Section("models", "Models", _models(data)),
        Section("errors", "Errors", _errors(data)),
        Section("calibration", "Calibration", "" if data.kind == "number" else _calibration(data)),
        Section("training", "Training", _training(data)),
        Section("gallery", "Hardest rows", _gallery(data)),
        Section("submissions", "Submissions", provenance.submissions_table(data)),
        Section("made", "How this was made", _provenance(data)),
    ]


def _models(data: ReportData) -> str:
    text = SCORES_TEXT
    if data.blend.decision:
        most_probable = data.metric.format(data.metric.score(data.labels, data.blend.oof, data.groups))
        text += DECISION_TEXT.format(metric=data.metric.name, score=most_probable)
    table = text + model_tables.models_table(data)
    if len(data.members) == 1:
        return table
    text, correlation = CORRELATION_TEXT, model_tables.correlation_table(data)
    return f'{table}<div class="side-by-side"><div>{text}</div>{correlation}</div>'


def _errors(data: ReportData) -> str:
    if data.kind == "number":
        chart = charts.scatter_plot(data.labels, data.blend.oof, data.store.dataset.train_ids)
        return f'<div class="card square">{chart}</div>'
    shares = SHARES_TEXT + class_tables.class_shares_table(data) if len(data.store.dataset.test_ids) else ""
    if data.kind == "labels":
        return _cards(f"<h3>By label</h3>{class_tables.label_errors_table(data)}", shares)
    counts, names = class_tables.confusion_counts(data), data.class_names
    pairs = f"<h3>Most frequent confusions</h3>{class_tables.frequent_confusions(counts, names)}"
    is_small = len(names) <= class_tables.MAX_MATRIX
    if not is_small:
        return _cards(pairs, shares)
    matrix = _cards(CONFUSION_TEXT + class_tables.confusion_table(counts, names))
    return f'<div class="grid unequal">{matrix}{_cards(pairs, shares)}</div>'


def _calibration(data: ReportData) -> str:
    error = charts.calibration_error(*charts.confidences(data.labels, data.blend.oof))
    confidence, accuracy = ("probability", "frequency") if data.kind == "labels" else ("confidence", "accuracy")
    text = CALIBRATION_TEXT.format(confidence=confidence, accuracy=accuracy, error=f"{100 * error:.2f}")
    diagram = charts.reliability_diagram(data.labels, data.blend.oof)
    return text + _cards(diagram, CALIBRATION_TABLE_TEXT + model_tables.calibration_table(data))


def _training(data: ReportData) -> str:
    networks = [member for member in data.members if any(member.curves)]
    if not networks:
        return ""
    loss = "RMSE" if data.kind == "number" else "log loss"
    axis = charts.learning_axis(networks, loss)
    cards = "".join(
        f'<div class="card"><h3>{escape(member.member)}</h3><p class="faint">{charts.describe_training(member)}</p>'
        f"{charts.learning_curves(member, loss, axis)}</div>"
        for member in networks
    )
    return f'{TRAINING_TEXT.format(loss=loss[0].upper() + loss[1:])}<div class="facets">{cards}</div>'


def _gallery(data: ReportData) -> str:
    text = GALLERY.read_text(encoding="utf-8")
    return Template(text).substitute(shared_errors=describe_shared_errors(data))


def _provenance(data: ReportData) -> str:
    recipes = f"<details><summary>recipes of the models</summary>{provenance.recipes_table(data)}</details>"
    return provenance.provenance_table(data) + recipes


def _cards(*contents: str) -> str:
    """Cards side by side, without empty ones."""
    cards = "".join(f'<div class="card">{content}</div>' for content in contents if content)
    return f'<div class="grid">{cards}</div>'


def _json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """Encode a value for a script element, which `</` inside a string would end."""
    return json.dumps(value, separators=(",", ":")).replace("</", "<\\/")
