from competition.crossval.folds import make_folds
from competition.models.member import Member
from competition.tuning import plots
from competition.tuning.storage import open_storage
from competition.tuning.study import Study
from competition.workers.local import LocalWorkers


def test_plots_are_written_once_there_are_enough_trials(dataset, tmp_path):
    page = tmp_path / "knn.html"
    with open_storage(None, tmp_path) as storage:
        study = Study("digits8", Member.parse("knn"), dataset, make_folds(dataset, 2, 0), 0.5, storage)
        assert plots.write_plots(study, page) is None and not page.exists()
        list(study.run(LocalWorkers(2), 4, lambda *event: None))
        assert plots.write_plots(study, page) == page
        text = page.read_text()
        assert study.name in text and "4 complete trials of 4" in text
    assert text.count("Plotly.newPlot") >= 3 and 'src="http' not in text  # it works offline
