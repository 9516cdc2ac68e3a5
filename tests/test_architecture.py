"""The house stands as it is drawn."""

import ast
import re
import subprocess
import sys

import pytest
from conftest import ROOT

# Imports go only up this list; `__main__` may import all.
ROOMS = (
    "problem",
    "recipe",
    "rules",
    "files",
    "mnist",
    "kaggle",
    "sources",
    "cells",
    "tables",
    "pictures",
    "albums",
    "data",
    "likeness",
    "calibration",
    "metrics",
    "folds",
    "spec",
    "augment",
    "blocks",
    "copies",
    "features",
    "symmetry",
    "classical",
    "training",
    "networks",
    "models",
    "parameters",
    "provenance",
    "task",
    "curves",
    "store",
    "exchange",
    "channel",
    "compute",
    "errand",
    "cluster",
    "crossval",
    "bench",
    "race",
    "presets",
    "rehearsal",
    "safety",
    "doctor",
    "blenders",
    "ensemble",
    "advice",
    "prediction",
    "onnx",
    "submission",
    "ledger",
    "grading",
    "progress",
    "logs",
    "trials",
    "studies",
    "tuning",
    "adoption",
    "campaign",
    "plots",
    "pages",
    "terminal",
    "session",
    "report",
    "demo",
    "commands",
)
PACKAGE = ROOT / "competition"
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def room(module: str) -> str:
    return module.split(".")[1]


def imported(path) -> set[str]:
    tree = ast.parse(path.read_text())
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    names = {node.module for node in statements}
    names |= {
        f"{node.module}.{name.name}" for node in statements if node.module == "competition" for name in node.names
    }
    return {name for name in names if name.startswith("competition.")}


def test_every_room_has_its_place():
    assert {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES} == {
        *ROOMS,
        "__init__",
        "__main__",
    }


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_only_up(path):
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if here in ("__init__", "__main__"):
        return
    for module in imported(path):
        within = room(module) == here and path.parent != PACKAGE
        assert within or ROOMS.index(room(module)) < ROOMS.index(here), module


def test_only_the_driver_loads_models_through_the_registry():
    for path in MODULES:
        for module in imported(path):
            assert not module.startswith("competition.models."), f"{path} names {module}"


def test_only_grading_knows_where_the_answers_lie():
    knowing = [path.stem for path in MODULES if "SEALED" in path.read_text()]
    assert knowing == ["grading", "sources"]


@pytest.mark.parametrize("arguments", [("--help",), ("data",), ("submit", "--models", "knn", "--folds", "2")])
def test_tensorflow_stays_away_where_no_network_is_built(arguments, tmp_path, own_competition):
    watch = "import sys, runpy; sys.argv[1:] = {!r}\ntry: runpy.run_module('competition', run_name='__main__')\n"
    watch += "finally: print('LOADED', 'tensorflow' in sys.modules, 'keras' in sys.modules)"
    arguments = list(arguments) + (["--competition", "digits8"] if arguments[0] != "--help" else [])
    done = subprocess.run(
        [sys.executable, "-c", watch.format(arguments)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "LOADED False False" in done.stdout, done.stderr


def test_make_help_lists_every_verb():
    makefile = (ROOT / "Makefile").read_text()
    verbs = set(re.findall(r"^([a-z-]+):.*##", makefile, re.M))
    assert verbs == set(re.findall(r"^\.PHONY: ([a-z-]+)$", makefile, re.M))
    printed = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(f"\n  {verb} " in printed for verb in verbs)


@pytest.mark.parametrize(
    ("given", "is_known"), [("MODEL=svm", False), ("MODELS=knn svm", True), ("KERAS_BACKEND=jax", True)]
)
def test_a_variable_that_make_does_not_know_is_refused(given, is_known):
    done = subprocess.run(["make", "--dry-run", "cv", given], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is is_known and ("MODEL is unknown; there are" in done.stderr) is not is_known


def test_the_file_tree_in_the_guide_is_the_real_one():
    tree = re.search(r"```\ncompetition/\n(.*?)```", (ROOT / "docs" / "layout.md").read_text(), re.S)
    assert tree
    assert re.findall(r"^\s+(\w+)(?:\.py|/)\s", tree[1], re.M) == list(ROOMS)
