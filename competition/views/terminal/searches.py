"""How a search goes, and what it came to."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from competition.crossval.progress import clock

if TYPE_CHECKING:  # tuning brings Optuna, which other commands need not wait for
    from optuna.trial import FrozenTrial

    from competition.tuning.search import Search
    from competition.tuning.validation import Verdict


def ended(trial: "FrozenTrial") -> str:
    """What a trial came to."""
    from competition.tuning.trials import evidence_of

    if failure := trial.user_attrs.get("failure"):
        return f"failed, {failure}"
    folds = evidence_of(trial)
    loss = np.mean([one.losses for one in folds.values()])
    wrong, rows = (sum(getattr(one, name) for one in folds.values()) for name in ("wrong", "rows"))
    given_up = f", given up after fold {len(folds)}" if trial.state.name == "PRUNED" else ""
    return f"log loss {loss:.5f}, {wrong} of {rows} wrong{given_up}"


def tried(search: "Search", trial: "FrozenTrial", left: float) -> str:
    """A line for a trial that ended."""
    told = f"{search.member.kind} trial {trial.number}: {ended(trial)}"
    if complete := search.study.complete:
        told += f"; best {complete[0].value:.5f} (trial {complete[0].number})"
    given_up = sum(one.state.name == "PRUNED" for one in search.study.trials)
    return told + f"; {search.tried} of {search.total}, {given_up} given up; to go {clock(left)}"


def verdicts(search: "Search", found: "Sequence[Verdict]") -> Table:
    """A row for each finalist against the present settings."""
    table = Table("settings", box=None)
    for heading in ("log loss", "difference", "p", "needed", "wrong", ""):
        table.add_column(heading, justify="right")
    for one in found[:1]:
        table.add_row("present", f"{one.present:.5f}", "", "", "", str(one.present_wrong), "")
    for one in found:
        difference = f"{one.difference:+.5f} ± {one.standard_error:.5f}"
        row = f"{one.log_loss:.5f}", difference, f"{one.p_value:.4f}", f"{one.needed:.4f}", str(one.wrong)
        table.add_row(f"trial {one.trial}", *row, _verdict(one))
    named = {"present": search.study.present} | {f"trial {one.trial}": one.settings for one in found}
    values = (", ".join(f"{name} {value:.4g}" for name, value in chosen.items()) for chosen in named.values())
    table.caption = "\n".join(f"{name}: {told}" for name, told in zip(named, values, strict=True))
    table.caption_justify = "left"
    return table


def _verdict(one: "Verdict") -> str:
    if one.is_proved:
        return "proved"
    return "more are wrong" if one.p_value < one.needed else "noise"
