"""Kaggle's official client: all downloads and submissions go through it.

The client finds the user's credentials itself. What Kaggle refuses becomes a UserError that says what to do.
"""

import os
import shlex
import shutil
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from competition.errors import UserError, first_line, interpreter, missing_extra
from competition.files import exclusive_lock, explain_write_errors, replace_file

if TYPE_CHECKING:
    from kaggle.api.kaggle_api_extended import KaggleApi
    from requests import RequestException

COMPETITIONS = "https://www.kaggle.com/competitions"
DIGIT_RECOGNIZER = "digit-recognizer"  # Kaggle's own competition of digits
MAX_PAUSE = 20.0  # seconds between two requests for a score
PAGE_SIZE = 200  # the largest that Kaggle allows
MAX_PAGES = 25  # of files whose sizes are added up; a competition of images can have millions of files
MARGIN = 1.1  # of disk space
DOWNLOAD_FOLDER = ".download"  # inside the competition's folder: an incomplete archive, until it is complete


@dataclass(frozen=True)
class SubmissionResult:
    """Kaggle's result for an uploaded submission."""

    status: str  # PENDING, COMPLETE or ERROR
    score: float | None
    reason: str
    reference: int  # Kaggle's number of the submission


def has_credentials() -> bool:
    """Whether there are credentials where Kaggle's client looks for them; they are not verified."""
    home, config = Path.home() / ".kaggle", os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    folders = [Path(os.environ.get("KAGGLE_CONFIG_DIR") or home), home, Path(config) / "kaggle"]
    files = [folder / "kaggle.json" for folder in folders]
    files += [home / name for name in ("access_token", "access_token.txt", "credentials.json")]
    variables = os.environ.keys()
    return "KAGGLE_API_TOKEN" in variables or {"KAGGLE_USERNAME", "KAGGLE_KEY"} <= variables or any(map(_exists, files))


def download_competition(competition: str, folder: Path) -> Path:
    """Download the competition's files as `folder/COMPETITION.zip`, after a check of the disk space.

    An interrupted download is resumed by the next call. The archive is renamed when it is complete.
    """
    archive = folder / f"{competition}.zip"
    with open_client(competition) as api:
        archive_size, total_size = _archive_size(api, competition), _total_size(api, competition)
        partial = folder / DOWNLOAD_FOLDER / archive.name
        _check_disk_space(partial, archive_size, total_size)
        with exclusive_lock(partial.parent), explain_write_errors(archive):
            print(f"downloading {competition} from Kaggle ({_megabytes(archive_size or total_size)}) ...", flush=True)
            _download(api, competition, partial)
            replace_file(partial, archive)
        shutil.rmtree(partial.parent, ignore_errors=True)
    return archive


def submit(competition: str, file: Path, message: str) -> None:
    """Upload a submission; the end of `message` identifies it later."""
    with open_client(competition) as api:
        output = StringIO()
        with redirect_stdout(output):  # the client prints why an upload failed
            response = api.competition_submit(str(file), message, competition, quiet=True)
        if response.message == api.COMPETITION_SUBMIT_UPLOAD_FAILED_MESSAGE:
            reason = first_line(output.getvalue()) or "the transfer was interrupted"
            raise UserError(f"cannot upload {file} to Kaggle: {reason}; run the same command again")


def fetch_result(competition: str, digest: str) -> SubmissionResult | None:
    """The result of the latest submission whose message ends with this digest; None if Kaggle does not list one."""
    with open_client(competition) as api:
        seen: set[int] = set()
        for page in count(1):
            submissions = api.competition_submissions(competition, page_number=page, page_size=PAGE_SIZE) or []
            for submission in submissions:
                if submission.description.endswith(digest):
                    score = float(submission.public_score) if submission.public_score else None
                    reason = submission.error_description or ""
                    return SubmissionResult(submission.status.name, score, reason, submission.ref)
            references = {submission.ref for submission in submissions}
            if references <= seen:
                break
            seen |= references
    return None


def poll_result(
    competition: str, digest: str, seconds: float, rejected: SubmissionResult | None = None
) -> Iterator[SubmissionResult | None]:
    """Fetch the result at growing intervals, until it has a score or an error, or the time is up.

    `rejected` is an earlier submission of the same file, which Kaggle may still list as the latest.
    """
    deadline, pause = time.monotonic() + seconds, 1.0
    while True:
        result = fetch_result(competition, digest)
        if result and rejected and result.reference == rejected.reference:
            result = None
        yield result
        if (result and result.status != "PENDING") or time.monotonic() + pause > deadline:
            return
        time.sleep(pause)
        pause = min(1.5 * pause, MAX_PAUSE)


@contextmanager
def open_client(competition: str) -> Iterator["KaggleApi"]:
    """Kaggle's client with the user's credentials; inside, a failed request becomes a UserError."""
    try:
        with redirect_stdout(StringIO()):  # the client prints a page of instructions
            from kaggle.api.kaggle_api_extended import KaggleApi
            from requests import RequestException

            api = KaggleApi()
            api.authenticate()
    except ImportError:
        raise missing_extra("Kaggle's client", "kaggle") from None
    except SystemExit:
        raise UserError(f"not logged in to Kaggle; run: {_login_command()}") from None
    except OSError as error:  # of a request
        raise UserError(f"cannot log in to Kaggle ({first_line(error)}); check the network") from None
    try:
        yield api
    except RequestException as error:
        raise UserError(_explain(error, competition)) from None


def _explain(error: "RequestException", competition: str) -> str:
    """Why Kaggle refused a request, and what to do."""
    status = error.response.status_code if error.response is not None else None
    again = "then run the same command again"
    if status is None:
        return f"the connection to Kaggle failed ({first_line(error)}); check the network, {again}"
    if status == 401:
        return f"Kaggle rejected your credentials; log in: {_login_command()}"
    if status == 403:
        return f"Kaggle denies access to {competition}; accept its rules at {COMPETITIONS}/{competition}/rules, {again}"
    if status == 404:
        return f"Kaggle has no competition {competition}; its name is the last part of its URL, {COMPETITIONS}/NAME"
    if status == 429:
        return f"Kaggle's limit of requests is reached ({first_line(error)}); wait some minutes, {again}"
    return f"Kaggle's client failed: {first_line(error)}"


def _archive_size(api: "KaggleApi", competition: str) -> int:
    """Size of the competition's archive in bytes; 0 if Kaggle does not tell."""
    from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFilesRequest

    request = ApiDownloadDataFilesRequest()
    request.competition_name = competition
    with (
        api.build_kaggle_client() as client,
        client.competitions.competition_api_client.download_data_files(request) as response,
    ):
        return int(response.headers.get("Content-Length", 0))  # the content is not read


def _total_size(api: "KaggleApi", competition: str) -> int:
    """Size of the competition's files in bytes; of the first `MAX_PAGES` pages, if there are more."""
    total, token = 0, ""
    for _ in range(MAX_PAGES):
        response = api.competition_list_files(competition, page_token=token, page_size=PAGE_SIZE)
        total += sum(file.total_bytes for file in response.files or [])
        token = response.next_page_token
        if not token:
            break
    return total


def _check_disk_space(partial: Path, archive_size: int, total_size: int) -> None:
    """Raise a UserError if the archive and its unpacked files do not fit on the disk."""
    folder = next(parent for parent in partial.absolute().parents if parent.exists())
    existing = partial.stat().st_size if partial.exists() else 0
    needed = MARGIN * (archive_size + max(archive_size, total_size)) - existing
    free = shutil.disk_usage(folder).free
    if needed > free:
        sizes = f"needs {_megabytes(needed)} for the archive and its files, but only {_megabytes(free)} are free"
        raise UserError(f"the download {sizes}; free some space on the disk: {shlex.join(['df', '-h', str(folder)])}")


def _download(api: "KaggleApi", competition: str, partial: Path) -> None:
    """Download the archive; what an earlier call has left is resumed, unless the archive has changed since.

    The client verifies the size, and starts again if the archive's entity tag has changed.
    """
    is_quiet = not sys.stderr.isatty()  # there, the client shows a progress bar
    try:
        api.competition_download_files(competition, path=str(partial.parent), quiet=is_quiet)
    except ValueError as error:  # the size differs
        partial.unlink(missing_ok=True)
        raise UserError(f"the download of {competition} failed ({error}); run the same command again") from None
    # The client keeps an old partial file that is larger than an archive that was replaced on the server.
    if not zipfile.is_zipfile(partial):
        partial.unlink(missing_ok=True)
        raise UserError(f"the archive of {competition} is damaged; run the same command again to download it again")


def _exists(file: Path) -> bool:
    """Whether the file exists; no, if its folder must not be read."""
    try:
        return file.exists()
    except OSError:
        return False


def _login_command() -> str:
    return f"{interpreter()} -m kaggle auth login"


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"
