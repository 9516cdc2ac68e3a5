"""Packages depend on each other in one direction only, and the docs list them correctly."""

import ast
import re
import subprocess
import sys

import pytest
from conftest import ROOT

from competition.data.sources import KNOWN_COMPETITIONS

# A package imports only earlier ones; inside a package, modules import each other without cycles.
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
    """The modules of `competition` and `benchmarks` that a source imports, including lazy and type-only imports."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return {name for name in names if name in MODULES or name.split(".")[0] == "benchmarks"} - {module}


def test_all_forms_of_import_are_recognized():
    for source in (
        "import competition.errors",
        "from competition import errors",
        "from competition.errors import UserError",
        "from ..errors import UserError",
        "from .. import errors",
        "def f():\n    from competition import errors",
        "if TYPE_CHECKING:\n    from competition.errors import UserError",
    ):
        assert imports_of("competition.data.tables", source) == {"competition.errors"}, source


def test_every_package_is_listed():
    assert {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES} == {
        *PACKAGES,
        "__init__",
        "__main__",
    }


@pytest.mark.parametrize("module", MODULES)
def test_packages_import_only_earlier_packages(module):
    if module in ("competition.__init__", "competition.__main__"):
        return
    position = PACKAGES.index(package_of(module))
    for imported in imports_of(module, MODULES[module].read_text()):
        assert not imported.startswith("benchmarks"), f"{module} imports {imported}"
        assert PACKAGES.index(package_of(imported)) <= position, f"{module} imports {imported}"


def test_imports_have_no_cycles():
    graph = {module: imports_of(module, path.read_text()) & MODULES.keys() for module, path in MODULES.items()}
    while leaves := [module for module, imported in graph.items() if not imported & graph.keys()]:
        for module in leaves:
            del graph[module]
    assert not graph, f"import cycle among {', '.join(graph)}"


def test_package_init_files_contain_only_a_docstring():
    for path in PACKAGE.rglob("__init__.py"):
        (docstring,) = ast.parse(path.read_text()).body
        assert isinstance(docstring, ast.Expr) and "\n" not in docstring.value.value, path


def test_models_are_loaded_only_by_the_registry():
    for module, path in MODULES.items():
        for imported in imports_of(module, path.read_text()):
            assert not imported.startswith("competition.models.zoo."), f"{module} imports {imported}"


def test_only_grading_reads_the_held_back_labels():
    modules = [path.stem for path in FILES if "HELD_BACK_LABELS" in path.read_text()]
    assert modules == ["practice", "grading"]


@pytest.mark.integration
@pytest.mark.parametrize("arguments", [("--help",), ("data",), ("submit", "--models", "knn", "--folds", "2")])
def test_tensorflow_is_not_imported_without_a_network(arguments, tmp_path, competition_copy):
    program = "import sys, runpy; sys.argv[1:] = {!r}\ntry: runpy.run_module('competition', run_name='__main__')\n"
    program += "finally: print('LOADED', 'tensorflow' in sys.modules, 'keras' in sys.modules)"
    arguments = list(arguments) + (["--competition", "digits8"] if arguments[0] != "--help" else [])
    result = subprocess.run(
        [sys.executable, "-c", program.format(arguments)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "LOADED False False" in result.stdout, result.stderr


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):.*##", makefile, re.M))
    commands = re.search(r"^commands = ((?:.*\\\n)*.*)$", makefile, re.M)[1].replace("\\", " ").split()
    assert targets == {*re.findall(r"^\.PHONY: ([a-z-]+)$", makefile, re.M), *commands}
    output = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(f"\n  {target} " in output for target in targets)


@pytest.mark.parametrize(
    ("variable", "is_known"), [("MODEL=svm", False), ("MODELS=knn svm", True), ("KERAS_BACKEND=jax", True)]
)
def test_make_rejects_an_unknown_variable(variable, is_known):
    result = subprocess.run(
        ["make", "--dry-run", "cv", variable], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (result.returncode == 0) is is_known and (
        "unknown variable MODEL; choose from" in result.stderr
    ) is not is_known


@pytest.mark.parametrize(
    ("arguments", "is_installed"),
    [
        ("submit", False),
        ("cv COMPETITION=digits8", False),
        ("data COMPETITION=letters", True),
        ("submit COMPETITION=letters/", True),
        ("grade COMPETITION=letters", False),
        ("upload COMPETITION=digit-recognizer", True),
    ],
)
def test_make_installs_kaggles_client_for_targets_that_need_it(arguments, is_installed):
    arguments = ["make", "--dry-run", "--always-make", *arguments.split()]
    result = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ("requirements-kaggle.txt" in result.stdout) is is_installed


def test_make_does_not_install_kaggles_client_for_files_that_are_there(tmp_path):
    (tmp_path / "data" / "letters").mkdir(parents=True)
    (tmp_path / "data" / "letters" / "train.csv").touch()
    for name in ("Makefile", "requirements.txt", "requirements-build.txt", "requirements-kaggle.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    arguments = ["make", "--dry-run", "--always-make", "submit", "COMPETITION=letters"]
    result = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "requirements.txt" in result.stdout and "requirements-kaggle.txt" not in result.stdout


def test_the_makefile_names_the_practice_competitions():
    practice = re.search(r"^practice = (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    assert set(practice) == set(KNOWN_COMPETITIONS)


def test_the_layout_guide_lists_the_packages_and_their_files():
    guide = (ROOT / "docs" / "design" / "layout.md").read_text()
    for name in PACKAGES:
        path = PACKAGE / name / "__init__.py" if (PACKAGE / name).is_dir() else PACKAGE / f"{name}.py"
        docstring = ast.get_docstring(ast.parse(path.read_text())).splitlines()[0]
        assert f"| `{name}" in guide and docstring in guide, name
    listed = re.findall(r"^\| `(\w+)(?:/|\.py)` \|.*\|(.*)\|$", guide, re.M)
    assert [name for name, _ in listed] == list(PACKAGES)
    for name, files in listed:
        there = (path for path in (PACKAGE / name).glob("[!_]*") if path.is_dir() or path.suffix == ".py")
        assert files.strip() == ", ".join(sorted(f"`{path.stem}{'/' * path.is_dir()}`" for path in there)), name


def test_predictions_are_read_and_blended_without_data_models_or_tasks():
    source = """
import sys
import competition.crossval.predictions
import competition.ensemble.blend
names = ("competition.data", "competition.models", "competition.workers", "competition.crossval.task", "tensorflow")
print(sorted(name for name in sys.modules if name.startswith(names)))
"""
    output = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert output.strip() == "['competition.data', 'competition.data.targets']"
