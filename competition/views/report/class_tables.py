"""The report's tables of errors by class, and of class shares."""

from collections.abc import Sequence
from html import escape

import numpy as np
from sklearn.metrics import confusion_matrix

from competition.scoring.multilabel import has_empty_sets, select_labels
from competition.views.html import html_table
from competition.views.report.data import ReportData

MAX_MATRIX = 25  # classes of a confusion matrix; of more, only the most frequent confusions are shown
MAX_PAIRS = 6  # most frequent confusions
MAX_SHORT_NAME = 4  # characters; longer names of classes are turned above the columns of the matrix
MAX_CLASSES = 30  # of the class distribution


def confusion_counts(data: ReportData) -> np.ndarray:
    """Rows of each true class by predicted class."""
    predicted = data.blend.submitted_oof.argmax(axis=1)
    return confusion_matrix(data.labels, predicted, labels=np.arange(len(data.class_names)))


def confusion_table(counts: np.ndarray, names: Sequence[str]) -> str:
    """Counts of each true class by predicted class; an error count is a button that shows its images."""
    longest = max(4, *map(len, names))
    kind = " long" if longest > MAX_SHORT_NAME else ""
    most = max(1, int((counts - np.diag(counts.diagonal())).max()))
    head = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in names)
    rows = []
    for true, row in enumerate(counts):
        cells = []
        for predicted, count in enumerate(row.tolist()):
            if true == predicted:
                share = count / max(1, row.sum())
                cells.append(f'<td class="correct"><b>{count:,}</b><small>{100 * share:.1f}&nbsp;%</small></td>')
            elif count:
                shade = f"--shade: {0.08 + 0.37 * count / most:.2f}"
                cells.append(f'<td style="{shade}">{_pair_button(true, predicted, count, names, str(count))}</td>')
            else:
                cells.append("<td></td>")
        rows.append(f'<tr><th scope="row">{escape(names[true])}</th>{"".join(cells)}</tr>')
    style = f"--count: {len(names)}; --name: {longest}"
    table = (
        f'<table class="heat confusion{kind}" style="{style}"><thead><tr><th scope="col">true</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
    return f'<div class="wide" tabindex="0" role="region" aria-label="Confusion matrix">{table}</div>'


def frequent_confusions(counts: np.ndarray, names: Sequence[str]) -> str:
    """The most frequent confusions, each a button that shows its images."""
    errors = counts - np.diag(counts.diagonal())
    order = np.argsort(-errors, axis=None, kind="stable")[:MAX_PAIRS]
    pairs = [divmod(int(position), len(names)) for position in order]
    items = [
        "<li>"
        + _pair_button(true, predicted, int(errors[true, predicted]), names,
                       f"{names[true]} predicted as {names[predicted]}")
        + f" {errors[true, predicted]:,} of {counts[true].sum():,}</li>"
        for true, predicted in pairs
        if errors[true, predicted]
    ]  # fmt: skip
    return f'<ol class="pairs">{"".join(items)}</ol>' if items else "<p>No row is wrong.</p>"


def _pair_button(true: int, predicted: int, count: int, names: Sequence[str], text: str) -> str:
    label = escape(f"{count} of class {names[true]} predicted as {names[predicted]}")
    return f'<button data-true="{true}" data-predicted="{predicted}" aria-label="{label}">{escape(text)}</button>'


def label_errors_table(data: ReportData) -> str:
    """Of several labels: the recall and the errors of each."""
    true, predicted = data.labels == 1, select_labels(data.blend.submitted_oof, has_empty_sets(data.labels))
    rows = []
    for index, name in enumerate(data.class_names):
        count, found = int(true[:, index].sum()), int((true & predicted)[:, index].sum())
        wrong = int((predicted & ~true)[:, index].sum())
        rows.append((name, f"{count:,}", f"{found / max(1, count):.1%}", f"{count - found:,}", f"{wrong:,}"))
    head = ("label", "rows", "recall", "false negatives", "false positives")
    return html_table("Errors by label", head, rows, "full")


def class_shares_table(data: ReportData) -> str:
    """The share of each class among the training labels and the test predictions, largest difference first."""
    names, test = data.class_names, data.blend.submitted_test
    if data.kind == "labels":
        parts = [labels.mean(axis=0) for labels in (data.labels, select_labels(test, has_empty_sets(data.labels)))]
    else:
        parts = [
            np.bincount(each, minlength=len(names)) / max(1, len(each)) for each in (data.labels, test.argmax(axis=1))
        ]
    shares = 100 * np.stack(parts)
    shown = np.sort(np.argsort(-np.abs(shares[0] - shares[1]), kind="stable")[:MAX_CLASSES])
    most, rows = shares[:, shown].max() or 1, []
    for index in shown.tolist():
        before, after = shares[:, index].tolist()
        bars = "".join(
            f'<span class="bar {kind}"><i style="width: {100 * share / most:.1f}%"></i></span>'
            for kind, share in (("train", before), ("test", after))
        )
        cells = [f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f}"]
        numbers = "".join(f"<td>{cell}</td>" for cell in cells)
        first = f'<th scope="row">{escape(names[index])}</th><td class="bars" aria-hidden="true">{bars}</td>'
        rows.append(f"<tr>{first}{numbers}</tr>")
    head = "".join(f'<th scope="col">{title}</th>' for title in ("training %", "test %", "difference, points"))
    table = (
        '<table class="full shares"><thead><tr><th scope="col">class</th><td aria-hidden="true"></td>'
        f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )
    return f'<div class="wide" tabindex="0" role="region" aria-label="Class distribution">{table}</div>'
