"""Compare ways to choose among ordered classes for QWK, on simulated grades of a disease.

The probabilities are exact, so only the choices differ. The number of rows is that on which the rules are fitted.
"""

from collections.abc import Iterator

import numpy as np
from rich.table import Table
from scipy.optimize import minimize

from competition.scoring.decisions import fit_decision
from competition.scoring.metrics import find_metric
from competition.scoring.standard_error import Score, format_score

FREQUENCIES = np.array([0.49, 0.10, 0.27, 0.05, 0.09])  # about as in APTOS 2019
FITTED_ROWS = 200, 1_000, 4_000
SCORED_ROWS = 20_000
REPEATS = 20
QWK = find_metric("QWK")


def simulate_grades(
    rows: int, rng: np.random.Generator, frequencies: np.ndarray = FREQUENCIES
) -> tuple[np.ndarray, np.ndarray]:
    """Grades and their probabilities, given a measurement of each with a standard deviation of one grade."""
    grades = np.arange(len(frequencies))
    labels = rng.choice(grades, size=rows, p=frequencies)
    measured = labels + rng.normal(size=rows)
    probabilities = frequencies * np.exp(-((measured[:, None] - grades) ** 2) / 2)
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


def fit_thresholds(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The thresholds between expected grades that have the highest QWK on these labels."""

    def loss(thresholds: np.ndarray) -> float:
        return -QWK.score(labels, apply_thresholds(probabilities, thresholds)).value

    start = np.arange(probabilities.shape[1] - 1) + 0.5
    return minimize(loss, start, method="Nelder-Mead").x


def apply_thresholds(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """1 for the grade whose thresholds the expected grade lies between, 0 for others."""
    classes = probabilities.shape[1]
    return np.eye(classes)[np.searchsorted(np.sort(thresholds), probabilities @ np.arange(classes))]


def compare_decisions(rows: int) -> Iterator[tuple[str, Score]]:
    """Yield the name of each rule, fitted on so many rows, and its QWK on other rows with a standard error."""
    scores: dict[str, list[float]] = {}
    for repeat in range(REPEATS):
        rng = np.random.default_rng(repeat)
        labels, probabilities = simulate_grades(rows, rng)
        other_labels, other = simulate_grades(SCORED_ROWS, rng)
        decision = fit_decision(QWK, probabilities, labels)  # None if it is hardly better
        chosen = {
            "the most probable grade": other,
            "the expected grade, rounded": apply_thresholds(other, np.arange(other.shape[1] - 1) + 0.5),
            "thresholds fitted on the labels": apply_thresholds(other, fit_thresholds(probabilities, labels)),
            "the highest expected QWK": decision.decide(other) if decision else other,
        }
        for name, predictions in chosen.items():
            scores.setdefault(name, []).append(QWK.score(other_labels, predictions).value)
    for name, values in scores.items():
        yield name, Score.from_rows(np.array(values))


def decision_table() -> Table:
    """QWK of each rule, by the number of rows on which it is fitted."""
    table = Table("decision", box=None)
    columns = {rows: dict(compare_decisions(rows)) for rows in FITTED_ROWS}
    for rows in columns:
        table.add_column(f"{rows:,} rows", justify="right")
    for name in columns[FITTED_ROWS[0]]:
        table.add_row(name, *(format_score(scores[name]) for scores in columns.values()))
    return table
