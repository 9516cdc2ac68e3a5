"""A page of Optuna's own plots of a study."""

from pathlib import Path

from competition.files import write_whole
from competition.tuning.study import Study

LEAST = 3  # complete trials without which there is nothing to see
PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{name}</title></head>
<body style="font-family: sans-serif; max-width: 80em; margin: auto">
<h1>{name}</h1>
<p>{complete} complete trials of {trials}. Each point is the log loss out of fold, taught by a share of the rows.</p>
{figures}
</body>
</html>
"""


def write(study: Study, path: Path) -> Path | None:
    """Write how the search went, which settings mattered and where they are best; None where that is too early."""
    if len(study.complete) < LEAST:
        return None
    from optuna import visualization

    plots = visualization.plot_optimization_history, visualization.plot_param_importances, visualization.plot_slice
    figures = [plot(study.optuna, target_name="log loss") for plot in plots]
    parts = [one.to_html(full_html=False, include_plotlyjs=not number) for number, one in enumerate(figures)]
    page = PAGE.format(
        name=study.name, complete=len(study.complete), trials=len(study.trials), figures="\n".join(parts)
    )
    write_whole(path, page.encode())
    return path
