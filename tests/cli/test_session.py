from argparse import Namespace
from dataclasses import replace

import numpy as np

from competition.cli import session
from competition.cli.session import USUAL, members_of, open_dataset


def chosen(dataset, monkeypatch, models):
    """Who takes part in a competition that has these rows."""
    monkeypatch.setattr("competition.data.sources.ensure", lambda *what: None)
    monkeypatch.setattr("competition.data.dataset.load", lambda folder: dataset)
    monkeypatch.setattr(session, "DATA", dataset.cache)
    options = Namespace(competition="", models=models)
    open_dataset(options)
    return [member.name for member in members_of(options)]


def test_where_nobody_is_named_the_usual_members_take_part(dataset, monkeypatch, capsys):
    assert chosen(dataset, monkeypatch, None) == list(USUAL) and capsys.readouterr().out == ""


def test_of_half_a_million_coloured_images_only_networks_are_taught_unless_others_are_named(
    dataset, monkeypatch, capsys
):
    images = np.broadcast_to(np.uint8(0), (500_000, 64, 64, 3))  # which takes no memory
    large = replace(dataset, images=images, labels=np.zeros(len(images), dtype=int))
    assert chosen(large, monkeypatch, None) == ["quick", "plain"]
    assert "knn and svm of 500,000 images would take" in capsys.readouterr().out
    assert chosen(large, monkeypatch, ["svm"]) == ["svm"]
