"""Progress and results of a hyperparameter search."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from competition.crossval.progress import format_duration
from competition.scoring.losses import loss_name

if TYPE_CHECKING:  # tuning imports Optuna, which other commands do not need
    from optuna.trial import FrozenTrial

    from competition.tuning.search import Search
    from competition.tuning.validation import ValidationResult


def trial_result(trial: "FrozenTrial") -> str:
    """The loss and errors of a finished trial, or why it failed."""
    from competition.tuning.trials import fold_results, mean_loss

    if failure := trial.user_attrs.get("failure"):
        return f"failed, {failure}"
    folds = fold_results(trial)
    loss = mean_loss(folds.values())
    wrong = [result.wrong for result in folds.values() if result.wrong is not None]
    errors = f", {sum(wrong)} of {sum(result.rows for result in folds.values())} wrong" if wrong else ""
    pruned = f", pruned after {len(folds)} fold{'s' * (len(folds) != 1)}" if trial.state.name == "PRUNED" else ""
    return f"{'log loss' if wrong else 'squared error'} {loss:.5f}{errors}{pruned}"


def trial_line(search: "Search", trial: "FrozenTrial", left: float) -> str:
    """The result of a finished trial and the state of its search."""
    text = f"{search.member.kind} trial {trial.number}: {trial_result(trial)}"
    if complete := search.study.complete_trials:
        text += f"; best {complete[0].value:.5f} (trial {complete[0].number})"
    pruned = sum(other.state.name == "PRUNED" for other in search.study.trials)
    return text + f"; {search.trial_count} of {search.max_trials}, {pruned} pruned; time left {format_duration(left)}"


def validation_table(search: "Search", results: "Sequence[ValidationResult]") -> Table:
    """The current defaults and a row for each candidate."""
    table = Table("hyperparameters", box=None)
    loss = loss_name(search.context.dataset.labels)
    for heading in (loss, "difference", "p", "p required", "wrong", ""):
        table.add_column(heading, justify="right")
    for result in results[:1]:
        table.add_row("current", f"{result.current_loss:.5f}", "", "", "", _count(result.current_wrong), "")
    for result in results:
        difference = f"{result.difference:+.5f} ± {result.standard_error:.5f}"
        p_values = f"{result.p_value:.4f}", f"{result.threshold:.4f}"
        row = f"{result.loss:.5f}", difference, *p_values, _count(result.wrong), _decision(result)
        table.add_row(f"trial {result.trial}", *row)
    candidates = {f"trial {result.trial}": result.hyperparameters for result in results}
    table.caption = "\n".join(
        f"{candidate}: " + ", ".join(f"{name} {_shorten(value)}" for name, value in values.items())
        for candidate, values in ({"current": search.study.current} | candidates).items()
    )
    table.caption_justify = "left"
    return table


def _shorten(value: object) -> str:
    """A hyperparameter; numbers have four digits."""
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)


def _count(wrong: int | None) -> str:
    return "" if wrong is None else str(wrong)


def _decision(result: "ValidationResult") -> str:
    if result.is_accepted:
        return "significant"
    return "more errors" if result.p_value < result.threshold else "not significant"
