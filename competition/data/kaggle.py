"""Kaggle's official client, run as a subprocess: all downloads and submissions go through it.

The client finds the user's credentials itself, and its error messages are passed on.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from competition.errors import UserError, missing_extra

SUBMISSION_FAILED = "Could not submit to competition"  # printed with exit status 0
MAX_PAUSE = 20.0  # seconds between two requests for a score


@dataclass(frozen=True)
class SubmissionResult:
    """Kaggle's result for an uploaded submission."""

    status: str  # PENDING, COMPLETE or ERROR
    score: float | None
    reason: str


def run_client(*arguments: str) -> str:
    """Run `kaggle competitions ...` and return its output; a failure becomes a UserError."""
    path = shutil.which("kaggle", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if path is None:
        raise missing_extra("Kaggle's client", "kaggle")
    process = subprocess.run([path, "competitions", *arguments], capture_output=True, text=True, check=False)
    if process.returncode or SUBMISSION_FAILED in process.stdout:
        lines = [line.strip() for line in (process.stdout + process.stderr).splitlines() if line.strip()]
        default = lines[0] if lines else f"exit status {process.returncode}"
        reason = next((line for line in lines if "rror" in line), default)
        raise UserError(f"Kaggle's client failed: {reason}. If you are not logged in: {path} auth login")
    return process.stdout


def submit(competition: str, file: Path, message: str) -> None:
    """Upload a submission; `message` identifies it later."""
    run_client("submit", "-c", competition, "-f", str(file), "-m", message, "-q")


def fetch_result(competition: str, message: str) -> SubmissionResult | None:
    """The result of the latest submission with this message; None until Kaggle lists it.

    This calls the client's library, since its command does not print why a file was rejected.
    """
    try:
        from kaggle.api.kaggle_api_extended import KaggleApi
    except ImportError:
        raise missing_extra("Kaggle's client", "kaggle") from None
    api = KaggleApi()
    api.authenticate()
    submissions = api.competition_submissions(competition) or []
    latest = next((submission for submission in submissions if submission.description == message), None)
    if latest is None:
        return None
    score = float(latest.public_score) if latest.public_score else None
    return SubmissionResult(latest.status.name, score, latest.error_description or "")


def poll_result(competition: str, message: str, seconds: float) -> Iterator[SubmissionResult | None]:
    """Fetch the result at growing intervals, until it has a score or an error, or the time is up."""
    deadline, pause = time.monotonic() + seconds, 1.0
    while True:
        result = fetch_result(competition, message)
        yield result
        if (result and result.status != "PENDING") or time.monotonic() + pause > deadline:
            return
        time.sleep(pause)
        pause = min(1.5 * pause, MAX_PAUSE)
