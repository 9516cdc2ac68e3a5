import pytest

from competition.tuning import plots
from competition.tuning.driver import run_trials
from competition.workers.events import ignore_event
from competition.workers.local import LocalWorkers


@pytest.mark.integration
def test_plots_are_written_once_there_are_enough_trials(study, tmp_path):
    page = tmp_path / "knn.html"
    assert plots.write_plots(study, page) is None and not page.exists()
    list(run_trials(study, LocalWorkers(2), 4, ignore_event))
    assert plots.write_plots(study, page) == page
    text = page.read_text()
    assert study.name in text and "4 complete trials of 4" in text
    assert text.count("Plotly.newPlot") >= 3 and 'src="http' not in text  # it works offline
