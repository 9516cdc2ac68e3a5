"""The locks match pyproject.toml."""

import re
import tomllib

import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def required(extra: str | None) -> list[Requirement]:
    """The requirements of the package with an extra; extras of extras are resolved."""
    requirements = [Requirement(text) for text in PROJECT["dependencies"] + EXTRAS.get(extra, [])]
    nested = [Requirement(text) for each in requirements for name in each.extras for text in EXTRAS.get(name, [])]
    return [each for each in requirements if each.name != PROJECT["name"]] + nested


@pytest.mark.parametrize("extra", [None, *EXTRAS])
def test_locks_satisfy_pyproject(extra):
    path = ROOT / (f"requirements-{extra}.txt" if extra else "requirements.txt")
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", path.read_text(), re.M))
    for requirement in required(extra):
        version = locked.get(canonicalize_name(requirement.name))
        assert version and version in requirement.specifier, f"{path.name} is stale: {requirement}; run `make lock`"


def test_every_locked_version_has_a_hash_and_is_the_same_everywhere():
    pinned = {}
    for path in ROOT.glob("requirements*.txt"):
        for name, version, rest in re.findall(r"^([\w.-]+)==(\S+)(.*(?:\n +--hash.*)*)", path.read_text(), re.M):
            assert "--hash=sha256:" in rest, f"{path.name}: {name} has no hash"
            assert pinned.setdefault(name, version) == version, f"{path.name}: {name} has another version elsewhere"


def test_every_extra_has_a_lock():
    assert {path.stem.removeprefix("requirements-") for path in ROOT.glob("requirements-*.txt")} == {*EXTRAS, "build"}


def test_the_tools_that_install_the_locks_are_locked_too():
    """Every installation is checked by hashes, except that of the package itself, which is built without downloads."""
    build = (ROOT / "requirements-build.txt").read_text()
    makefile = (ROOT / "Makefile").read_text()
    assert f"uv=={re.search(r'^uv_version = (.+)$', makefile, re.M)[1]} " in build and "\nflit-core==" in build
    commands = re.findall(r"^(?:install = |\t@).*pip install.*$", makefile.replace("$(install)", ""), re.M)
    unhashed = [command for command in commands if "--require-hashes" not in command]
    assert len(commands) == 3 and len(unhashed) == 1
    assert "--no-deps --no-build-isolation --editable ." in unhashed[0]
