"""The packages depend on each other in one direction, and the docs show them as they are."""

import ast
import re
import subprocess
import sys

import pytest
from conftest import ROOT

# Imports go only to earlier lines; inside a package they go in any direction, without cycles.
PACKAGES = (
    "errors",
    "files",
    "data",
    "scoring",
    "models",
    "workers",
    "crossval",
    "ensemble",
    "tuning",
    "submission",
    "deploy",
    "checks",
    "views",
    "cli",
)
PACKAGE = ROOT / "competition"
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in FILES}


def package_of(module: str) -> str:
    return module.split(".")[1]


def imports_of(module: str, source: str) -> set[str]:
    """The modules of `competition` and `benchmarks` that a source imports anywhere: lazily, for types, relatively."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return {name for name in found if name in MODULES or name.split(".")[0] == "benchmarks"} - {module}


def test_every_way_to_import_is_seen():
    for source in (
        "import competition.errors",
        "from competition import errors",
        "from competition.errors import Problem",
        "from ..errors import Problem",
        "from .. import errors",
        "def f():\n    from competition import errors",
        "if TYPE_CHECKING:\n    from competition.errors import Problem",
    ):
        assert imports_of("competition.data.tables", source) == {"competition.errors"}, source


def test_every_package_has_its_place():
    assert {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES} == {
        *PACKAGES,
        "__init__",
        "__main__",
    }


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_only_to_earlier_packages(module):
    if module in ("competition.__init__", "competition.__main__"):
        return
    here = PACKAGES.index(package_of(module))
    for imported in imports_of(module, MODULES[module].read_text()):
        assert not imported.startswith("benchmarks"), f"{module} imports {imported}"
        assert PACKAGES.index(package_of(imported)) <= here, f"{module} imports {imported}"


def test_no_files_import_each_other_in_a_circle():
    graph = {module: imports_of(module, path.read_text()) & MODULES.keys() for module, path in MODULES.items()}
    while leaves := [module for module, imported in graph.items() if not imported & graph.keys()]:
        for module in leaves:
            del graph[module]
    assert not graph, f"there is a cycle among {', '.join(graph)}"


def test_packages_do_nothing_when_they_are_imported():
    for path in PACKAGE.rglob("__init__.py"):
        (docstring,) = ast.parse(path.read_text()).body
        assert isinstance(docstring, ast.Expr) and "\n" not in docstring.value.value, path


def test_models_are_loaded_through_the_registry_alone():
    for module, path in MODULES.items():
        for imported in imports_of(module, path.read_text()):
            assert not imported.startswith("competition.models.zoo."), f"{module} imports {imported}"


def test_only_grading_reads_the_held_back_answers():
    knowing = [path.stem for path in FILES if "SEALED" in path.read_text()]
    assert knowing == ["practice", "grading"]


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


def test_the_packages_in_the_guide_are_the_real_ones():
    guide = (ROOT / "docs" / "layout.md").read_text()
    for name in PACKAGES:
        path = PACKAGE / name / "__init__.py" if (PACKAGE / name).is_dir() else PACKAGE / f"{name}.py"
        docstring = ast.get_docstring(ast.parse(path.read_text())).splitlines()[0]
        assert f"| `{name}" in guide and docstring in guide, name
    shown = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", guide, re.M)
    assert shown == list(PACKAGES)
