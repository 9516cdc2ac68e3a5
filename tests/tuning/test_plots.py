from competition.crossval.folds import split
from competition.models.member import Member
from competition.tuning import plots
from competition.tuning.storage import open_storage
from competition.tuning.study import Study
from competition.workers.local import LocalWorkers


def test_a_page_shows_how_the_search_went(dataset, tmp_path):
    page = tmp_path / "knn.html"
    with open_storage(None, tmp_path) as storage:
        study = Study("digits8", Member.named("knn"), dataset, split(dataset, 2, 0), 0.5, storage)
        assert plots.write(study, page) is None and not page.exists()
        list(study.run(LocalWorkers(2), 4, lambda *said: None))
        assert plots.write(study, page) == page
        text = page.read_text()
        assert study.name in text and "4 complete trials of 4" in text
    assert text.count("Plotly.newPlot") >= 3 and 'src="http' not in text  # it needs no network
