"""Kernels on Kaggle: pushing a folder, polling the status of its session, and fetching the outputs."""

import json
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from competition.data.kaggle import COMPETITIONS, MAX_PAUSE, open_client
from competition.errors import UserError, first_line
from competition.files import write_atomically

if TYPE_CHECKING:
    from kaggle.api.kaggle_api_extended import KaggleApi

MAX_POLLS, POLL_SECONDS = 200, 3.0  # until a data set can be attached
ENDED = ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")
OUTPUT_FILES = r"^(folds/.*\.(csv|npz|json|keras|skops)|submission\.csv)$"


@dataclass(frozen=True)
class SessionStatus:
    """The state of the latest session of a kernel."""

    status: str  # QUEUED, RUNNING or one of ENDED
    failure: str
    log: str

    @property
    def has_ended(self) -> bool:
        """Whether it will not change any more."""
        return self.status in ENDED


def find_username(competition: str) -> str:
    """The user's name on Kaggle, which is part of a kernel's address."""
    with open_client(competition) as api:
        return str(api.config_values[api.CONFIG_NAME_USER])


def push(folder: Path, competition: str) -> str:
    """Push the kernel in the folder, which starts a session; return its address."""
    with open_client(competition) as api:
        output = StringIO()
        try:
            with redirect_stdout(output):
                response = api.kernels_push(str(folder))
        except ValueError as error:
            raise UserError(f"{folder}: {first_line(error)}") from None
    if response.error:
        raise UserError(f"Kaggle did not start the kernel: {first_line(response.error)}{_hint(response.error)}")
    if response.invalid_competition_sources:
        raise UserError(
            f"Kaggle could not attach the competition {competition}; its name is the last part of its URL; "
            f"accept its rules at {COMPETITIONS}/{competition}/rules, then push again"
        )
    if missing := [*response.invalid_dataset_sources, *response.invalid_kernel_sources]:
        raise UserError(f"Kaggle could not attach {missing[0]}; push again in some minutes")
    return str(response.url)


def write_dataset_metadata(folder: Path, dataset: str) -> None:
    """Describe the data set in the folder, for Kaggle's client; `dataset` is OWNER/SLUG."""
    metadata = {"id": dataset, "title": dataset.split("/")[1], "licenses": [{"name": "other"}]}
    write_atomically(folder / "dataset-metadata.json", json.dumps(metadata, indent=1).encode() + b"\n")


def push_dataset(folder: Path, dataset: str, competition: str) -> None:
    """Upload the folder as a private data set, or as a new version of it, and wait until it can be attached."""
    with open_client(competition) as api, redirect_stdout(StringIO()):
        exists = _dataset_status(api, dataset) is not None
        if exists:
            response = api.dataset_create_version(str(folder), "models", quiet=True)
        else:
            response = api.dataset_create_new(str(folder), quiet=True)
        if response.error:
            raise UserError(f"Kaggle did not accept the data set {dataset}: {first_line(response.error)}")
        for _ in range(MAX_POLLS):
            status = _dataset_status(api, dataset)
            if status == "ready":
                return
            if status in ("failed", "deleted"):
                raise UserError(f"Kaggle could not process the data set {dataset}: {status}")
            time.sleep(POLL_SECONDS)
    raise UserError(f"Kaggle is still processing the data set {dataset}; run the same command again")


def has_earlier_session(kernel: str, competition: str) -> bool:
    """Whether the kernel exists on Kaggle and has an earlier session to continue from."""
    with open_client(competition) as api:
        return _fetch_status(api, kernel) is not None


class MissingKernelError(UserError):
    """Kaggle has no such kernel, e.g. because it was deleted after it was pushed."""


def poll(kernel: str, competition: str) -> Iterator[SessionStatus]:
    """Fetch the status at growing intervals until the session has ended."""
    pause = 1.0
    while True:
        with open_client(competition) as api:
            status = _fetch_status(api, kernel)
        if status is None:
            raise MissingKernelError(f"Kaggle has no kernel {kernel}; run the same command again to push it")
        yield status
        if status.has_ended:
            return
        time.sleep(pause)
        pause = min(1.5 * pause, MAX_PAUSE)


def fetch_output(kernel: str, competition: str, folder: Path) -> None:
    """Download predictions, the submission and the log of the latest session into the folder."""
    with open_client(competition) as api, redirect_stdout(StringIO()):
        api.kernels_output(kernel, path=str(folder), file_pattern=OUTPUT_FILES, force=True)


def last_lines(log: str, count: int) -> list[str]:
    """The last lines of a log, which Kaggle stores as JSON records of what was printed."""
    try:
        text = "".join(record["data"] for record in json.loads(log))
    except (ValueError, TypeError, KeyError):
        text = log
    return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]


def _fetch_status(api: "KaggleApi", kernel: str) -> SessionStatus | None:
    """The status and the log of the kernel's latest session; None if there is no such kernel."""
    from requests import HTTPError

    try:
        response = api.kernels_status(kernel)
        log = api.kernels_logs(kernel)
    except ValueError as error:
        if isinstance(error, OSError):  # an error of a request, which may also be a ValueError
            raise
        return None  # the client's explanation of 401 and 403, which Kaggle also sends for unknown kernels
    except HTTPError as error:
        if error.response is not None and error.response.status_code == 404:
            return None
        raise
    return SessionStatus(response.status.name, response.failure_message or "", log)


def _dataset_status(api: "KaggleApi", dataset: str) -> str | None:
    """The status of a data set; None if there is none of this name."""
    from requests import HTTPError

    try:
        return str(api.dataset_status(dataset))
    except HTTPError as error:
        if error.response is not None and error.response.status_code in (403, 404):
            return None
        raise


def _hint(error: str) -> str:
    """What to do about the reason for which Kaggle did not start a session."""
    if "quota" in error.lower():
        return "; wait until the quota is renewed, or set enable_gpu to false in kernel-metadata.json and push by hand"
    if "concurrent" in error.lower() or "maximum" in error.lower():
        return "; wait until another session has ended, or stop it on Kaggle"
    return ""
