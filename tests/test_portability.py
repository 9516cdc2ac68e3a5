"""The package runs where POSIX-only modules and signals are missing, as on Windows."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

WITHOUT_POSIX = """
import builtins, signal, sys
import_module = builtins.__import__

def import_portable(name, globals=None, *arguments, **keywords):
    if str((globals or {}).get("__name__")).startswith("competition") and name.split(".")[0] in POSIX:
        raise ImportError(f"{name} does not exist here")
    return import_module(name, globals, *arguments, **keywords)

POSIX = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
builtins.__import__ = import_portable
for name in ("SIGALRM", "SIGHUP", "setitimer", "alarm", "pause"):
    delattr(signal, name)
from competition.cli.app import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.integration
def test_a_submission_is_made_without_posix_modules(tmp_path, competition_copy):
    arguments = ["submit", "--competition", "digits8", "--folds", "2", "--models", "knn mlp", "--budget", "10m"]
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_POSIX, *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "submissions" / "submission.csv").exists()
