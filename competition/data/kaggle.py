"""Kaggle's official client, run as a program of its own: files come and submissions go through it alone.

It finds the user's credentials itself, and what it says when something is refused is passed on.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from competition.errors import Problem

REFUSED = "Could not submit to competition"  # told with exit status 0
MISSING = f"Kaggle's client is missing: {sys.executable} -m pip install -r requirements-kaggle.txt"
LONGEST_PAUSE = 20.0  # seconds between two looks for a score


@dataclass(frozen=True)
class Outcome:
    """What became of an uploaded submission."""

    status: str  # PENDING, COMPLETE or ERROR
    score: float | None
    reason: str


def client() -> str:
    """The client's path."""
    path = shutil.which("kaggle", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if path is None:
        raise Problem(MISSING)
    return path


def run(*arguments: str) -> str:
    """What the client prints; what it complains of is a Problem."""
    path = client()
    done = subprocess.run([path, "competitions", *arguments], capture_output=True, text=True, check=False)
    if done.returncode or REFUSED in done.stdout:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        reason = next((line for line in lines if "rror" in line), lines[0] if lines else "nothing")
        raise Problem(f"Kaggle's client says: {reason}. If it is for want of a login: {path} auth login")
    return done.stdout


def submit(competition: str, file: Path, message: str) -> None:
    """Upload a submission under a message by which it is found again."""
    run("submit", "-c", competition, "-f", str(file), "-m", message, "-q")


def outcome(competition: str, message: str) -> Outcome | None:
    """What Kaggle makes of the latest submission with this message, once it lists it.

    The client's table leaves out why a file was refused, so its library is asked.
    """
    try:
        from kaggle.api.kaggle_api_extended import KaggleApi
    except ImportError:
        raise Problem(MISSING) from None
    api = KaggleApi()
    api.authenticate()
    listed = api.competition_submissions(competition) or []
    found = next((one for one in listed if one.description == message), None)
    if found is None:
        return None
    score = float(found.public_score) if found.public_score else None
    return Outcome(found.status.name, score, found.error_description or "")


def outcomes(competition: str, message: str, seconds: float) -> Iterator[Outcome | None]:
    """Look again and again, at growing intervals, until there is a score or a refusal or the time is up."""
    end, pause = time.monotonic() + seconds, 1.0
    while True:
        found = outcome(competition, message)
        yield found
        if (found and found.status != "PENDING") or time.monotonic() + pause > end:
            return
        time.sleep(pause)
        pause = min(1.5 * pause, LONGEST_PAUSE)
