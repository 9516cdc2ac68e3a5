import inspect
from dataclasses import MISSING, fields

import numpy as np
import pytest
import typer

from competition.cli import app
from competition.cli.options import (
    MAX_SEED,
    parse_competition,
    parse_duration,
    parse_integer,
    parse_names,
    parse_port,
    parse_positive,
    parse_score,
    parse_seed,
)
from competition.cli.run import RunOptions
from competition.errors import DEFAULTS


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("20m", 1200), ("1.5h", 5400), ("1h30m", 5400), ("1h30m15s", 5415), ("0.5m", 30)]
)
def test_durations_are_hours_minutes_and_seconds(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["20", "soon", "0m", "", "1.2.3h", "-5m", "m", "5m1h"])
def test_an_invalid_duration_is_an_error(text):
    with pytest.raises(typer.BadParameter, match=f"invalid duration '{text}'; use e.g. 90s, 20m or 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["quick quick.1 svm", "quick,quick.1,svm", " quick  quick.1, svm "])
def test_names_are_separated_by_spaces_or_commas(text):
    assert parse_names(text) == ("quick", "quick.1", "svm")


def test_a_list_of_models_without_names_is_an_error():
    assert parse_names(" ") == ()
    with pytest.raises(typer.BadParameter, match="expected names of models, got ' ,'"):
        parse_names(" ,")


def test_the_seed_of_the_second_split_fits_into_numpys_generators():
    np.random.RandomState(parse_seed(str(MAX_SEED - 1)) + 1)
    with pytest.raises(typer.BadParameter, match=f"expected an integer below {MAX_SEED}, got {MAX_SEED}"):
        parse_seed(str(MAX_SEED))


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "good", ""])
def test_a_score_is_a_finite_number(text):
    assert parse_score("0.997") == 0.997
    with pytest.raises(typer.BadParameter, match=f"expected a number, e.g. 0.997, got '{text}'"):
        parse_score(text)


@pytest.mark.parametrize("text", ["-1", "1.5", "five", "²", ""])
def test_counts_are_non_negative_integers(text):
    with pytest.raises(typer.BadParameter, match=f"expected an integer >= 0, got {text}"):
        parse_integer(text)


def test_at_least_one_worker_and_a_port_that_exists_are_required():
    assert parse_positive("2") == 2 and parse_port("65535") == 65535
    with pytest.raises(typer.BadParameter, match="expected an integer >= 1, got 0"):
        parse_positive("0")
    for text in ("0", "65536"):
        with pytest.raises(typer.BadParameter, match=f"expected a port from 1 to 65535, got {text}"):
            parse_port(text)


def test_a_competition_is_the_name_of_a_folder():
    assert parse_competition("digits/") == "digits"
    for path in ("", ".", "..", "data/digits", "/"):
        with pytest.raises(typer.BadParameter, match="expected the name of a folder in data/"):
            parse_competition(path)


def test_options_that_messages_omit_have_the_same_defaults_everywhere():
    commands = [function for function in vars(app).values() if inspect.isfunction(function)]
    parameters = [item for command in commands for item in inspect.signature(command).parameters.items()]
    defaults = [(name, parameter.default) for name, parameter in parameters if parameter.default is not parameter.empty]
    defaults += [(field.name, field.default) for field in fields(RunOptions) if field.default is not MISSING]
    shared = {(name, default) for name, default in defaults if name in DEFAULTS and isinstance(default, str | int)}
    assert shared == set(DEFAULTS.items())
