"""A page with Optuna's plots of a study."""

from pathlib import Path

from competition.files import write_atomically
from competition.scoring.losses import loss_name
from competition.tuning.study import Study

MIN_TRIALS = 3  # complete trials below which the plots show nothing
PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{name}</title></head>
<body style="font-family: sans-serif; max-width: 80em; margin: auto">
<h1>{name}</h1>
<p>{complete} complete trials of {trials}. Points show the out-of-fold {loss}, trained on a fraction of the rows.</p>
{figures}
</body>
</html>
"""


def write_plots(study: Study, path: Path) -> Path | None:
    """Write optimization history, hyperparameter importances and slices; None if there are too few trials."""
    if len(study.complete_trials) < MIN_TRIALS:
        return None
    from optuna import visualization

    loss = loss_name(study.context.dataset.labels)
    plots = visualization.plot_optimization_history, visualization.plot_param_importances, visualization.plot_slice
    figures = [plot(study.optuna_study, target_name=loss) for plot in plots]
    parts = [figure.to_html(full_html=False, include_plotlyjs=not index) for index, figure in enumerate(figures)]
    page = PAGE.format(
        name=study.name,
        complete=len(study.complete_trials),
        trials=len(study.trials),
        loss=loss,
        figures="\n".join(parts),
    )
    write_atomically(path, page.encode())
    return path
