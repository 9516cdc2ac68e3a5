import base64
import json
import re
from dataclasses import replace
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from competition.crossval.curves import Point
from competition.crossval.folds import split
from competition.crossval.predictions import Predictions
from competition.crossval.store import Store
from competition.ensemble import advice
from competition.ensemble import blend as ensemble
from competition.scoring.metrics import ACCURACY
from competition.submission.log import COLUMNS
from competition.views.report import gallery
from competition.views.report import page as report

SETTINGS = {"first": "Recipe(epochs=<12>)"}
NOTHING = pd.DataFrame(columns=COLUMNS, dtype=str)


def predictor(name, dataset, wrong, seed=0):
    """A member that takes some rows for the next class."""
    random = np.random.default_rng(seed)
    count = len(dataset.classes)
    taken = np.where(random.random(len(dataset.labels)) < wrong, (dataset.labels + 1) % count, dataset.labels)
    said = np.full((len(taken), count), 0.1 / count) + 0.9 * np.eye(count)[taken]
    test = np.full((2, len(dataset.test_ids), count), 1 / count)
    return Predictions(name, said, test, 60.0, "fingerprint")


@pytest.fixture
def shown(dataset, tmp_path):
    """A report of two members on a competition with a class of an awkward name; its page and what was shown."""
    named = replace(dataset, classes=np.array([*"012345678", "<b>&</script>"], dtype=object))
    store = Store(tmp_path / "digits8", named, split(named, 2, 0))
    curve = [Point(epoch, 2, 0.5, 100.0, 2**30, 0.9, 0.3 / epoch, 0.8, 0.4 / epoch) for epoch in (1, 2)]
    first = replace(predictor("first", named, 0.05, 1), curves=(curve, curve))
    members = [first, predictor("second", named, 0.1, 2)]
    blend = ensemble.blend(members, named.labels, store.folds.held_out, "mean")
    helps = advice.helps(members, blend, named.labels, store.folds.held_out)
    line = dict.fromkeys(COLUMNS, "") | {"number": "1", "metric": "accuracy", "local": "0.95"}
    lines = pd.DataFrame([line | {"local_error": "0.01", "leaderboard": "0.94"}])
    page = report.write(tmp_path / "report.html", store, members, blend, ACCURACY, helps, lines, SETTINGS)
    return page, members, blend, named


def told(text, name):
    """A constant of the page's script."""
    start = re.search(rf"\b{name} = ", text).end()
    return json.JSONDecoder().raw_decode(text[start:])[0]


def test_the_page_needs_no_network_and_runs_nothing_that_data_brought(shown):
    page, *_ = shown
    text = page.read_text()
    assert page.stat().st_size < 6_000_000
    body = text[: text.index("<script>")]
    assert "Recipe(epochs=&lt;12&gt;)" in body
    assert "<b>&" not in body and "&lt;b&gt;&amp;" in body
    own = body + text[text.rindex("<script>") :]
    assert not re.search(r"(src|href)=[\"']?(http|//)", own)
    assert text.count("</script>") == 2


def test_the_confusion_matrix_counts_every_row_once(shown):
    page, _, blend, dataset = shown
    table = page.read_text().split('<table class="confusion">')[1].split("</table>")[0]
    right = sum(int(count.replace(",", "")) for count in re.findall(r'class="right">([\d,]+)<', table))
    wrong = sum(int(count) for count in re.findall(r">(\d+)</button>", table))
    assert right + wrong == len(dataset.labels) and wrong == int((blend.oof.argmax(axis=1) != dataset.labels).sum())


def test_the_gallery_shows_the_hardest_rows_as_they_are(shown):
    page, members, blend, dataset = shown
    hard = told(page.read_text(), "hard")
    assert len(hard) == gallery.MOST
    doubts = [row["label_sure"] for row in hard]
    assert doubts == sorted(doubts)
    position = {str(name): row for row, name in enumerate(dataset.train_ids)}
    for one in hard[:5]:
        row = position[one["id"]]
        picture = Image.open(BytesIO(base64.b64decode(one["image"].split(",")[1])))
        assert (np.asarray(picture) == dataset.images[row][..., 0]).all()
        assert one["label"] == dataset.labels[row] and one["taken"] == blend.oof[row].argmax()
        assert [vote for vote, _ in one["votes"]] == [member.oof[row].argmax() for member in members]


def test_a_label_that_nobody_votes_for_is_suspected(shown):
    page, members, _, dataset = shown
    suspected = {one["id"] for one in told(page.read_text(), "hard") if one["suspect"]}
    nobody = np.all([member.oof.argmax(axis=1) != dataset.labels for member in members], axis=0)
    assert suspected == {str(name) for name in dataset.train_ids[nobody]}


def test_a_single_member_and_no_submission_make_a_page_too(dataset, tmp_path):
    store = Store(tmp_path / "digits8", dataset, split(dataset, 2, 0))
    member = predictor("only", dataset, 0.05)
    blend = ensemble.blend([member], dataset.labels, store.folds.held_out)
    text = report.write(tmp_path / "report.html", store, [member], blend, ACCURACY, [], NOTHING, {}).read_text()
    assert set(told(text, "figures")) == {"scores", "reliability", "shares"}


def test_the_charts_tell_the_scores(shown):
    page, members, _, dataset = shown
    figures = told(page.read_text(), "figures")
    assert set(figures) == {"scores", "learning", "reliability", "shares", "correlation", "history"}
    assert [line["y"] for line in figures["learning"]["data"][:2]] == [[0.4, 0.2], [0.3, 0.15]]
    assert len(figures["learning"]["data"]) == 4
    points = figures["scores"]["data"][0]
    assert points["y"][-1] in ("blend", "first") and points["y"][0] == "second"
    right = (members[1].oof.argmax(axis=1) == dataset.labels).mean()
    assert points["x"][0] == pytest.approx(100 * right)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_in_a_browser_the_filters_choose_and_a_cell_leads_to_its_pictures(width, scheme, shown, faultless):
    page, _, blend, dataset = shown
    tab = faultless(page.as_uri(), width, scheme)
    assert tab.locator("#pictures li").count() == gallery.MOST
    assert tab.locator(".chart .main-svg").count() >= 5
    tab.select_option("#kind", "wrong")
    wrong = int((blend.oof.argmax(axis=1) != dataset.labels).sum())
    assert tab.locator("#pictures li").count() == wrong
    cell = tab.locator(".confusion button").first
    true, taken = (int(cell.get_attribute(f"data-{which}")) for which in ("true", "taken"))
    cell.click()
    pairs = (dataset.labels == true) & (blend.oof.argmax(axis=1) == taken)
    assert tab.locator("#pictures li").count() == int(pairs.sum()) == int(cell.inner_text())
    alt = tab.locator("#pictures img").first.get_attribute("alt")
    assert f"labelled {dataset.classes[true]}, taken for {dataset.classes[taken]}" in alt
