import base64
import json
import re
from dataclasses import replace
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from competition.crossval.folds import make_folds
from competition.crossval.predictions import CurvePoint, Predictions
from competition.crossval.store import Store
from competition.ensemble.advice import measure_contributions
from competition.ensemble.blend import BlendSearch
from competition.scoring.metrics import ACCURACY, LOG_LOSS, RMSE
from competition.submission.log import COLUMNS
from competition.views.report import class_tables, gallery
from competition.views.report.charts import BIN_EDGES, calibration_bins, calibration_error
from competition.views.report.data import ReportData
from competition.views.report.page import write_report

RECIPES = {"mlp": "Recipe(epochs=<12>)"}
NO_SUBMISSIONS = pd.DataFrame(columns=list(COLUMNS), dtype=str)


def make_data(store, members, metric=ACCURACY, log=NO_SUBMISSIONS, **changes):
    labels, held_out = store.dataset.labels, store.folds.held_out
    search = BlendSearch(members, labels, held_out)
    blend = search.blend("mean")
    contributions = measure_contributions(search, blend)
    options = {"public_rows": 100.0, "is_practice": False} | changes
    return ReportData(store, members, blend, metric, contributions, log, RECIPES, "auto", 0, **options)


def simulate_member(name, dataset, error_rate, seed=0):
    """Predictions that are the next class at this rate and the label otherwise."""
    random = np.random.default_rng(seed)
    count = len(dataset.classes)
    predicted = np.where(random.random(len(dataset.labels)) < error_rate, (dataset.labels + 1) % count, dataset.labels)
    oof = np.full((len(predicted), count), 0.1 / count) + 0.9 * np.eye(count)[predicted]
    test = np.full((2, len(dataset.test_ids), count), 1 / count)
    return Predictions(name, oof, test, 60.0, "fingerprint")


@pytest.fixture
def report(dataset, tmp_path):
    """A report of two members, with a class name that contains HTML: its page, members, blend and dataset."""
    dataset = replace(dataset, classes=np.array([*"012345678", "<b>&</script>"], dtype=object))
    store = Store(tmp_path / "digits8", dataset, make_folds(dataset, 2, 0))
    curve = [CurvePoint(epoch, 2, 0.5, 100.0, 2**30, 0.9, 0.3 / epoch, 0.8, 0.4 / epoch) for epoch in (1, 2)]
    first = replace(simulate_member("mlp", dataset, 0.05, 1), curves=(curve, curve))
    members = [first, simulate_member("lenet", dataset, 0.1, 2)]
    row = dict.fromkeys(COLUMNS, "") | {"number": "1", "metric": "accuracy", "cv": "0.95"}
    log = pd.DataFrame([row | {"cv_standard_error": "0.01", "leaderboard": "0.94"}])
    data = make_data(store, members, log=log)
    return write_report(tmp_path / "report.html", data), members, data.blend, dataset


def simulate_noisy_member(name, dataset, noise, seed=0):
    """Predictions of label sets or numbers with random errors, and a learning curve."""
    random = np.random.default_rng(seed)
    true = dataset.labels.reshape(len(dataset.labels), -1).astype(float)
    oof = true + random.normal(0, noise, true.shape)
    test = np.tile(oof[: len(dataset.test_ids)], (2, 1, 1))
    if len(dataset.classes) > 1:
        oof, test = (np.clip(array, 0.01, 0.99) for array in (oof, test))
    curve = [CurvePoint(1, 1, 0.5, 100.0, 2**30, None if len(dataset.classes) == 1 else 0.9, 0.3, None, 0.4)]
    return Predictions(name, oof, test, 60.0, "fingerprint", (curve, curve))


@pytest.mark.parametrize("kind", ["labels", "number"])
def test_a_report_of_label_sets_and_numbers_has_no_confusion_matrix(kind, label_dataset, number_dataset, tmp_path):
    dataset, metric = (label_dataset, LOG_LOSS) if kind == "labels" else (number_dataset, RMSE)
    store = Store(tmp_path / "digits8", dataset, make_folds(dataset, 2, 0))
    members = [simulate_noisy_member("mlp", dataset, 0.4, 1), simulate_noisy_member("lenet", dataset, 0.5, 2)]
    text = write_report(tmp_path / "report.html", make_data(store, members, metric)).read_text()
    assert "Confusion matrix" not in text and "data-predicted" not in text
    assert ("Reliability diagram" in text) == (kind == "labels") == ("false positives" in text)
    assert ("Predicted numbers by true numbers" in text) == (kind == "number")
    hardest = script_constant(text, "hard")[0]
    assert hardest["label"] != hardest["predicted"] and len(hardest["votes"]) == 2
    assert script_constant(text, "classes") == []


def script_constant(text, name):
    """The value of a constant in the page's script."""
    start = re.search(rf"\b{name} = ", text).end()
    return json.JSONDecoder().raw_decode(text[start:])[0]


def test_the_page_is_small_loads_nothing_and_escapes_names(report):
    page, *_ = report
    text = page.read_text()
    assert len(re.sub(r"data:image/\w+;base64,[\w+/=]+", "", text)) < 300_000
    body = text[: text.index("<script>")]
    assert "Recipe(epochs=&lt;12&gt;)" in body
    assert "<b>&" not in body and "&lt;b&gt;&amp;" in body
    assert not re.search(r"(src|href)=[\"']?(http|//)|@import|url\(", text)
    assert text.count("</script>") == 1


def test_the_confusion_matrix_counts_every_row_once(report):
    page, _, blend, dataset = report
    table = page.read_text().split('<table class="heat confusion')[1].split("</table>")[0]
    correct = sum(int(count.replace(",", "")) for count in re.findall(r'class="correct"><b>([\d,]+)<', table))
    wrong = sum(int(count) for count in re.findall(r">(\d+)</button>", table))
    assert correct + wrong == len(dataset.labels) and wrong == int((blend.oof.argmax(axis=1) != dataset.labels).sum())


def test_the_gallery_shows_the_hardest_rows(report):
    page, members, blend, dataset = report
    hard = script_constant(page.read_text(), "hard")
    assert len(hard) == gallery.MAX_ROWS
    probabilities = [item["label_probability"] for item in hard]
    assert probabilities == sorted(probabilities)
    position = {str(train_id): row for row, train_id in enumerate(dataset.train_ids)}
    for item in hard[:5]:
        row = position[item["id"]]
        image = Image.open(BytesIO(base64.b64decode(item["image"].split(",")[1])))
        assert (np.asarray(image) == dataset.images[row][..., 0]).all()
        assert item["label"] == dataset.labels[row] and item["predicted"] == blend.oof[row].argmax()
        assert [vote for vote, _ in item["votes"]] == [member.oof[row].argmax() for member in members]


def test_a_label_that_no_member_predicts_is_suspected(report):
    page, members, _, dataset = report
    suspected = {item["id"] for item in script_constant(page.read_text(), "hard") if item["suspect"]}
    unpredicted = np.all([member.oof.argmax(axis=1) != dataset.labels for member in members], axis=0)
    assert suspected == {str(train_id) for train_id in dataset.train_ids[unpredicted]}


def test_the_gallery_counts_the_errors_that_all_models_make(report):
    page, members, blend, dataset = report
    wrong = blend.oof.argmax(axis=1) != dataset.labels
    shared = wrong & np.all([member.oof.argmax(axis=1) != dataset.labels for member in members], axis=0)
    assert shared.any() and (wrong & ~shared).any()
    counts = f"{wrong.sum()} errors, at least one model predicts {(wrong & ~shared).sum()} correctly"
    assert counts in page.read_text() and f"wrong on the other {shared.sum()}." in page.read_text()


def test_a_report_of_one_member_without_submissions(dataset, tmp_path):
    store = Store(tmp_path / "digits8", dataset, make_folds(dataset, 2, 0))
    data = make_data(store, [simulate_member("only", dataset, 0.05)])
    text = write_report(tmp_path / "report.html", data).read_text()
    sections = re.findall(r'<h2 id="(\w+)">', text)
    assert sections == ["models", "errors", "calibration", "gallery", "made"]
    assert re.findall(r'<a href="#(\w+)">', text) == sections
    assert "train a second model" in text and "Correlation of errors" not in text


def test_the_summary_tells_what_to_expect_of_the_leaderboard(dataset, tmp_path):
    store = Store(tmp_path / "digits8", dataset, make_folds(dataset, 2, 0))
    members = [simulate_member("mlp", dataset, 0.2, 1), simulate_member("lenet", dataset, 0.3, 2)]
    data = make_data(store, members)
    score = ACCURACY.score(dataset.labels, data.blend.oof)
    error = score.standard_error * np.sqrt(1 + len(dataset.labels) / 100)
    expected = [f"{100 * (score.value + side * 1.96 * error):.3f}" for side in (-1, 1)]
    text = write_report(tmp_path / "report.html", data).read_text()
    assert f"{expected[0]} to {expected[1]} %" in text and "No submission of this blend is logged" in text
    row = dict.fromkeys(COLUMNS, "") | {"number": "3", "metric": "accuracy", "members": "mlp lenet", "blender": "mean"}
    row |= {"cv": f"{score.value:.6f}", "cv_standard_error": "0.01"}
    for leaderboard, position in ((score.value, "inside"), (score.value - 3 * error, "outside")):
        log = pd.DataFrame([row | {"leaderboard": f"{leaderboard:.6f}"}])
        text = write_report(tmp_path / "report.html", make_data(store, members, log=log)).read_text()
        assert f"Submission 3 scored {100 * leaderboard:.3f} % on the leaderboard: <b class=" in text
        assert f">{position}</b> the range" in text
    without_test = make_data(store, members, public_rows=0.0)
    assert "Expected on" not in write_report(tmp_path / "report.html", without_test).read_text()


def test_the_learning_curves_are_medians_of_the_folds_and_single_folds(report):
    text = report[0].read_text()
    figure = text[text.index("log loss of mlp by epoch") :].split("</figure>")[0]
    assert figure.count('class="median') == 2 and figure.count('class="band') == 2
    assert figure.count('class="tipped"') == 4  # two folds, on training and held-out rows
    rows = dict(re.findall(r'<th scope="row">([\w -]+)</th><td>.*?</td><td>([\d.]+)</td>', figure))
    assert rows == {"training rows": "0.1500", "held-out rows": "0.2000"}
    assert "does not rise on held-out rows; at the end it is 1.3 times that of training rows" in text


def test_the_calibration_of_known_probabilities():
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1, 20_000)
    calibrated = (random.random(len(confidence)) < confidence).astype(float)
    bins = calibration_bins(confidence, calibrated)
    assert sum(each.count for each in bins) == len(confidence)
    assert [each.low for each in bins] == [edge for edge in BIN_EDGES if 0.5 <= edge < 1]
    assert sum(each.is_calibrated for each in bins) >= len(bins) - 1
    assert calibration_error(confidence, calibrated) < 0.01
    always_wrong = calibration_bins(confidence, np.zeros(len(confidence)))
    assert not any(each.is_calibrated for each in always_wrong)
    assert calibration_error(confidence, np.zeros(len(confidence))) == pytest.approx(confidence.mean())


def test_many_classes_have_a_list_of_confusions_instead_of_a_matrix(report, monkeypatch, tmp_path):
    _, members, blend, dataset = report
    monkeypatch.setattr(class_tables, "MAX_MATRIX", 9)
    store = Store(tmp_path / "digits8", dataset, make_folds(dataset, 2, 0))
    text = write_report(tmp_path / "report.html", make_data(store, members)).read_text()
    assert "Confusion matrix" not in text
    counts = [int(count) for count in re.findall(r"predicted as [^<]*</button> (\d+) of \d+</li>", text)]
    assert counts == sorted(counts, reverse=True) and len(counts) <= class_tables.MAX_PAIRS
    assert sum(counts) <= int((blend.oof.argmax(axis=1) != dataset.labels).sum())


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 768, 360])
def test_filters_and_confusion_cells_select_images_in_a_browser(width, scheme, report, open_accessible_page):
    page, _, blend, dataset = report
    tab = open_accessible_page(page.as_uri(), width, scheme)
    assert tab.locator("#images li").count() == 48
    tab.click("#more")
    assert tab.locator("#images li").count() == gallery.MAX_ROWS
    tab.select_option("#kind", "wrong")
    wrong = int((blend.oof.argmax(axis=1) != dataset.labels).sum())
    assert tab.locator("#images li").count() == min(wrong, 48)
    assert tab.locator("#count").inner_text().startswith(f"{wrong} of the ")
    tab.select_option("#kind", "shared")
    shared = tab.locator("#images li").count()
    tab.select_option("#kind", "disputed")
    assert shared and shared + tab.locator("#images li").count() == wrong
    cell = tab.locator(".confusion button").first
    true, predicted = (int(cell.get_attribute(f"data-{name}")) for name in ("true", "predicted"))
    cell.click()
    pairs = (dataset.labels == true) & (blend.oof.argmax(axis=1) == predicted)
    assert tab.locator("#images li").count() == int(pairs.sum()) == int(cell.inner_text())
    alt = tab.locator("#images img").first.get_attribute("alt")
    assert f"labelled {dataset.classes[true]}, predicted as {dataset.classes[predicted]}" in alt


@pytest.mark.slow
def test_single_folds_appear_when_pointed_at(report, open_accessible_page):
    tab = open_accessible_page(report[0].as_uri(), 1440, "light")
    fold = tab.locator(".tipped").first
    line = fold.locator(".fold")
    assert line.evaluate("line => getComputedStyle(line).opacity") == "0" and not tab.locator("#tip").is_visible()
    fold.scroll_into_view_if_needed()
    middle = "path => path.getPointAtLength(path.getTotalLength() / 2).matrixTransform(path.getScreenCTM())"
    point = fold.locator(".hit").evaluate(f"path => {{ const {{x, y}} = ({middle})(path); return [x, y]; }}")
    tab.mouse.move(*point)
    shown = tab.locator(".tipped:hover .fold")
    assert shown.evaluate("line => getComputedStyle(line).opacity") == "1"
    assert "fold " in tab.locator("#tip").inner_text() and "log loss" in tab.locator("#tip").inner_text()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["labels", "number"])
def test_reports_of_label_sets_and_numbers_fit_a_phone(
    kind, label_dataset, number_dataset, tmp_path, open_accessible_page
):
    dataset, metric = (label_dataset, LOG_LOSS) if kind == "labels" else (number_dataset, RMSE)
    store = Store(tmp_path / "digits8", dataset, make_folds(dataset, 2, 0))
    members = [simulate_noisy_member("mlp", dataset, 0.4, 1), simulate_noisy_member("lenet", dataset, 0.5, 2)]
    page = write_report(tmp_path / "report.html", make_data(store, members, metric))
    for scheme in ("light", "dark"):
        tab = open_accessible_page(page.as_uri(), 360, scheme)
        assert tab.locator("#images img").count() == 48 and not tab.locator("form").is_visible()


def test_the_command_of_a_report_has_the_options_of_its_blend(report, tmp_path):
    _, members, _, dataset = report
    data = make_data(Store(tmp_path / "digits8", dataset, make_folds(dataset, 2, 0)), members)
    command = replace(data, blend_option="mean", refit=4).submit_command(["mlp", "knn"])
    assert command == "make submit MODELS='mlp knn' BLEND=mean REFIT=4 COMPETITION=digits8 FOLDS=2"
