"""A Kaggle session without Kaggle: run a pushed script as it would be run there.

The script runs in a folder of its own, without network, without this repository and without the packages that Kaggle's
machines lack; inputs are mounted in either of the two layouts.
"""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import IO

from competition.data.mounts import INPUT_VARIABLE

# A sitecustomize.py, which Python runs at startup, also in worker processes.
ISOLATION = '''
import socket
import sys
from importlib.machinery import PathFinder

MISSING = {"fastapi", "kaggle", "optuna", "plotly", "psutil", "py7zr", "typer"}
BUNDLED = {"competition", "filelock", "prettytable", "skops", "wcwidth"}


class Isolation(PathFinder):
    """Hides what is missing, and finds what the script bundles nowhere but in the script."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in MISSING:
            return None
        if name in BUNDLED:
            path = [folder for folder in sys.path if "/foldblend-session-" in folder]
        return super().find_spec(name, path, target)


def connect(self, address, connect=socket.socket.connect):
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "localhost", "::1"):
        raise OSError(f"no network: {address}")
    return connect(self, address)


sys.meta_path = [Isolation if finder is PathFinder else finder for finder in sys.meta_path]
socket.socket.connect = connect
'''
MOUNTS = {"older": "{name}", "newer": "competitions/{name}"}


class Session:
    """Folders for inputs and outputs, and a script to run there."""

    def __init__(self, folder: Path, python: str | Path = sys.executable) -> None:
        self.inputs, self.working, self.python = folder / "input", folder / "working", python
        self.isolation = folder / "isolation"
        self.temporary = Path(tempfile.mkdtemp())  # not in `folder`: the paths of sockets in it must be short
        atexit.register(shutil.rmtree, self.temporary, ignore_errors=True)
        for path in (self.inputs, self.working, self.isolation):
            path.mkdir(parents=True)
        (self.isolation / "sitecustomize.py").write_text(ISOLATION)

    def mount(self, archive: Path, layout: str) -> Path:
        """Unpack a competition's archive where Kaggle would mount it; archives in it stay packed, as on Kaggle."""
        folder = self.inputs / MOUNTS[layout].format(name=archive.stem)
        with zipfile.ZipFile(archive) as members:
            members.extractall(folder)
        return folder

    def start(self, script: Path, output: int | IO[str] = subprocess.PIPE) -> subprocess.Popen:
        """Start the script in the working folder."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment = kept | {
            INPUT_VARIABLE: str(self.inputs),
            "PYTHONPATH": str(self.isolation),
            "TMPDIR": str(self.temporary),
        }
        return subprocess.Popen(
            [self.python, script], cwd=self.working, env=environment, text=True, stdout=output, stderr=output
        )

    def run(self, script: Path) -> subprocess.CompletedProcess:
        """Run the script in the working folder to its end, or until the test's time is up."""
        with self.start(script) as process:
            try:
                output, errors = process.communicate()
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def attach_dataset(session: Session, kernel: Path) -> None:
    """Mount the data set in the folder of a kernel."""
    shutil.copytree(kernel / "dataset", session.inputs / "datasets" / "someone" / "dataset")


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of each file in a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}
