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
from competition.ensemble.blend import blend as make_blend
from competition.scoring.metrics import ACCURACY, LOG_LOSS, RMSE
from competition.submission.log import COLUMNS
from competition.views.report import gallery
from competition.views.report.page import ReportData, write_report

RECIPES = {"mlp": "Recipe(epochs=<12>)"}
NO_SUBMISSIONS = pd.DataFrame(columns=list(COLUMNS), dtype=str)


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
    labels, held_out = dataset.labels, store.folds.held_out
    blend = make_blend(members, labels, held_out, "mean")
    contributions = measure_contributions(members, blend, labels, held_out)
    row = dict.fromkeys(COLUMNS, "") | {"number": "1", "metric": "accuracy", "cv": "0.95"}
    log = pd.DataFrame([row | {"cv_standard_error": "0.01", "leaderboard": "0.94"}])
    data = ReportData(members, blend, ACCURACY, contributions, log, RECIPES)
    return write_report(tmp_path / "report.html", store, data), members, blend, dataset


def simulate_noisy_member(name, dataset, noise, seed=0):
    """Predictions of label sets or numbers with random errors, and a training curve."""
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
    labels, held_out = dataset.labels, store.folds.held_out
    blend = make_blend(members, labels, held_out)
    contributions = measure_contributions(members, blend, labels, held_out)
    data = ReportData(members, blend, metric, contributions, NO_SUBMISSIONS, RECIPES)
    text = write_report(tmp_path / "report.html", store, data).read_text()
    assert "Confusion matrix" not in text and "data-predicted" not in text
    assert set(script_constant(text, "figures")) == {"scores", "learning", "correlation"} | (
        {"reliability", "shares"} if kind == "labels" else set()
    )
    hardest = script_constant(text, "hard")[0]
    assert hardest["label"] != hardest["predicted"] and len(hardest["votes"]) == 2
    assert script_constant(text, "classes") == []


def script_constant(text, name):
    """The value of a constant in the page's script."""
    start = re.search(rf"\b{name} = ", text).end()
    return json.JSONDecoder().raw_decode(text[start:])[0]


def test_the_page_loads_nothing_and_escapes_names(report):
    page, *_ = report
    text = page.read_text()
    assert page.stat().st_size < 6_000_000
    body = text[: text.index("<script>")]
    assert "Recipe(epochs=&lt;12&gt;)" in body
    assert "<b>&" not in body and "&lt;b&gt;&amp;" in body
    without_plotly = body + text[text.rindex("<script>") :]
    assert not re.search(r"(src|href)=[\"']?(http|//)", without_plotly)
    assert text.count("</script>") == 2


def test_the_confusion_matrix_counts_every_row_once(report):
    page, _, blend, dataset = report
    table = page.read_text().split('<table class="confusion">')[1].split("</table>")[0]
    correct = sum(int(count.replace(",", "")) for count in re.findall(r'class="correct">([\d,]+)<', table))
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


def test_a_report_of_one_member_without_submissions(dataset, tmp_path):
    store = Store(tmp_path / "digits8", dataset, make_folds(dataset, 2, 0))
    member = simulate_member("only", dataset, 0.05)
    blend = make_blend([member], dataset.labels, store.folds.held_out)
    data = ReportData([member], blend, ACCURACY, [], NO_SUBMISSIONS, {})
    page = write_report(tmp_path / "report.html", store, data)
    assert set(script_constant(page.read_text(), "figures")) == {"scores", "reliability", "shares"}


def test_the_charts_show_the_scores(report):
    page, members, _, dataset = report
    figures = script_constant(page.read_text(), "figures")
    assert set(figures) == {"scores", "learning", "reliability", "shares", "correlation", "history"}
    assert [line["y"] for line in figures["learning"]["data"][:2]] == [[0.4, 0.2], [0.3, 0.15]]
    assert len(figures["learning"]["data"]) == 4
    points = figures["scores"]["data"][0]
    assert points["y"][-1] in ("blend", "mlp") and points["y"][0] == "lenet"
    accuracy = (members[1].oof.argmax(axis=1) == dataset.labels).mean()
    assert points["x"][0] == pytest.approx(100 * accuracy)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_filters_and_confusion_cells_select_images_in_a_browser(width, scheme, report, open_accessible_page):
    page, _, blend, dataset = report
    tab = open_accessible_page(page.as_uri(), width, scheme)
    assert tab.locator("#images li").count() == gallery.MAX_ROWS
    assert tab.locator(".chart .main-svg").count() >= 5
    tab.select_option("#kind", "wrong")
    wrong = int((blend.oof.argmax(axis=1) != dataset.labels).sum())
    assert tab.locator("#images li").count() == wrong
    cell = tab.locator(".confusion button").first
    true, predicted = (int(cell.get_attribute(f"data-{name}")) for name in ("true", "predicted"))
    cell.click()
    pairs = (dataset.labels == true) & (blend.oof.argmax(axis=1) == predicted)
    assert tab.locator("#images li").count() == int(pairs.sum()) == int(cell.inner_text())
    alt = tab.locator("#images img").first.get_attribute("alt")
    assert f"labelled {dataset.classes[true]}, predicted as {dataset.classes[predicted]}" in alt
