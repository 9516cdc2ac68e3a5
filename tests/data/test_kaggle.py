"""Kaggle's real client, run against a local server that implements the endpoints it calls.

The server redirects a download to a file that can be read in parts, as Kaggle's does.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections import namedtuple
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import ROOT, wait_until

from competition.data import kaggle as client
from competition.errors import UserError
from competition.files import sha256
from competition.submission.log import SubmissionLog

SERVICE = "/v1/competitions.CompetitionApiService/"
# A sitecustomize.py, which Python runs at startup: it redirects the client to the local server.
REDIRECT = """
from kagglesdk import kaggle_env
kaggle_env._env_to_endpoint[kaggle_env.KaggleEnv.PROD] = "http://localhost:{port}"
"""


class Kaggle(BaseHTTPRequestHandler):
    """The part of Kaggle's API that uploads and downloads need."""

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        server = self.server
        server.calls.append(self.path.removeprefix(SERVICE))
        if server.token not in (self.headers.get("Authorization") or ""):
            return self.reply({"code": 401, "message": "Unauthenticated error: who are you?"}, 401)
        if server.refusal:
            return self.reply({"code": server.refusal, "message": "refused"}, server.refusal)
        if self.path == f"{SERVICE}ListDataFiles":
            files = [{"name": f"{number}.csv", "totalBytes": server.file_size} for number in range(2)]
            pages = {"": {"files": files[:1], "nextPageToken": "p2"}, "p2": {"files": files[1:]}}
            return self.reply(pages[request.get("pageToken") or ""])
        if self.path == f"{SERVICE}DownloadDataFiles":
            return self.redirect(f"http://localhost:{server.server_port}/bundle/archive.zip?signature=s")
        if self.path == f"{SERVICE}StartSubmissionUpload":
            return self.reply({"token": "t1", "createUrl": f"http://localhost:{server.server_port}/blob"})
        if self.path == f"{SERVICE}CreateSubmission":
            if server.limit_reached:
                return self.reply({"code": 400, "message": "error: no submission left today"}, 400)
            server.messages.append(request["submissionDescription"])
            return self.reply({"message": "Successfully submitted", "ref": 1})
        if self.path == f"{SERVICE}ListSubmissions":
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            submissions = [
                {"ref": number, "date": now, "fileName": "submission.csv", "description": message}
                | ({"status": "ERROR"} if number in server.rejected else server.outcome)
                for number, message in enumerate(server.messages, 1)
            ]
            page = request.get("page") or 1  # the latest first, two on each page
            return self.reply({"submissions": submissions[::-1][2 * page - 2 : 2 * page]})
        return self.reply({})

    def do_PUT(self):
        self.server.received = self.rfile.read(int(self.headers["Content-Length"]))
        self.reply({})

    def do_GET(self):
        """Send the archive from the requested byte on; stop after `sent_bytes`, and wait until the client is gone."""
        server = self.server
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        is_resumed = bool(match) and self.headers["If-Range"] == server.entity_tag
        start = int(match[1]) if is_resumed else 0
        server.starts.append(start)
        self.send_response(206 if is_resumed else 200)
        self.send_header("Content-Type", "application/zip")
        self.send_header("Content-Length", str(len(server.archive) - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", server.entity_tag)
        self.send_header("Last-Modified", "Mon, 05 Jan 2026 10:00:00 GMT")
        self.end_headers()
        with suppress(ConnectionError):  # the client reads only the headers first
            self.wfile.write(server.archive[start : server.sent_bytes])
            if server.sent_bytes:
                server.resumed.wait(60)

    def redirect(self, url):
        self.send_response(302)
        self.send_header("Location", url)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def reply(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    server = ThreadingHTTPServer(("localhost", 0), Kaggle)
    server.calls, server.messages, server.received = [], [], b""
    server.token, server.limit_reached, server.refusal = "", False, None
    server.archive, server.entity_tag, server.file_size = b"", '"v1"', 1000
    server.rejected = set()
    server.starts, server.sent_bytes, server.resumed = [], None, threading.Event()
    server.outcome = {"status": "COMPLETE", "publicScore": "0.98500"}
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    (tmp_path / "redirect").mkdir()
    (tmp_path / "redirect" / "sitecustomize.py").write_text(REDIRECT.format(port=server.server_port))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "redirect"))
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", "something")
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    yield server
    server.resumed.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def submitted_folder(competition_folder, tmp_path_factory):
    """A folder with a competition without held-back test labels, and a submission for it."""
    folder = tmp_path_factory.mktemp("submitted")
    shutil.copytree(competition_folder, folder / "data" / "digits8", ignore=shutil.ignore_patterns("held_back"))
    arguments = ("submit", "--competition", "digits8", "--folds", "2", "--models", "knn")
    run = [sys.executable, "-m", "competition", *arguments]
    subprocess.run(run, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, capture_output=True)
    return folder


@pytest.fixture
def upload(command, submitted_folder, tmp_path):
    """Upload the submission from a copy of that folder."""
    shutil.rmtree(tmp_path / "data")
    shutil.copytree(submitted_folder, tmp_path, dirs_exist_ok=True)

    def run(*arguments, **settings):
        return command("upload", "--competition", "digits8", *(arguments or ["--yes"]), **settings)

    return run


def leaderboard(tmp_path):
    return SubmissionLog(tmp_path / "submissions").read()["leaderboard"].tolist()


@pytest.mark.integration
def test_a_submission_is_uploaded_and_its_score_recorded(kaggle, upload, tmp_path):
    process = upload()
    assert process.returncode == 0, process.stderr
    assert "98.500 ± 0.949 % on the leaderboard" in process.stdout
    assert kaggle.received == (tmp_path / "submissions" / "submission.csv").read_bytes()
    assert kaggle.messages[0].startswith("submission 1 ") and leaderboard(tmp_path) == ["0.985000"]
    assert kaggle.calls == ["ListSubmissions", "StartSubmissionUpload", "CreateSubmission", "ListSubmissions"]


def test_the_reason_for_a_rejected_file_is_shown(kaggle, upload, tmp_path):
    kaggle.outcome = {"status": "ERROR", "errorDescription": "Evaluation Exception: id 7 is missing"}
    process = upload()
    assert process.returncode == 2 and "rejected" in process.stderr and "id 7 is missing" in process.stderr
    assert leaderboard(tmp_path) == [""]


def test_the_daily_limit_is_reported(kaggle, upload, tmp_path):
    kaggle.limit_reached = True
    process = upload()
    assert (
        process.returncode == 2 and "no submission left today" in process.stderr and "Traceback" not in process.stderr
    )


def test_wrong_credentials_are_reported_with_the_login_command(kaggle, upload):
    kaggle.token = "another"
    process = upload()
    assert process.returncode == 2 and "Kaggle rejected your credentials" in process.stderr
    assert "-m kaggle auth login" in process.stderr


@pytest.mark.integration
def test_credentials_are_neither_printed_nor_stored(kaggle, upload, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_KEY", "a-key-of-someone")
    for token in ("", "another"):  # a success, and a failure
        kaggle.token = token
        process = upload()
        assert "a-key-of-someone" not in process.stdout + process.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "log.csv" for path in files)
    assert not [path for path in files if b"a-key-of-someone" in path.read_bytes()]


@pytest.mark.integration
def test_a_pending_score_is_no_error_and_is_fetched_without_another_upload(kaggle, upload, tmp_path):
    kaggle.outcome = {"status": "PENDING"}
    process = upload("--yes", "--wait", "2s")
    assert process.returncode == 0 and "no score from Kaggle after 2 s" in process.stdout, process.stderr
    assert "without another upload: make upload NUMBER=1 COMPETITION=digits8" in process.stdout
    kaggle.outcome = {"status": "COMPLETE", "publicScore": "0.98500"}
    kaggle.messages += ["by hand"] * 3  # the submission moves to the second page
    process = upload("--number", "1")
    assert process.returncode == 0 and "is on Kaggle already and is not uploaded again" in process.stdout
    assert "98.500 ± 0.949 % on the leaderboard" in process.stdout and leaderboard(tmp_path) == ["0.985000"]
    assert kaggle.calls.count("CreateSubmission") == 1


@pytest.mark.integration
def test_a_file_with_a_score_is_not_uploaded_again(kaggle, upload):
    assert upload().returncode == 0
    kaggle.calls.clear()
    process = upload()
    assert process.returncode == 0 and "already has a score and is not uploaded again" in process.stdout
    assert "98.500 ± 0.949 % on the leaderboard" in process.stdout and not kaggle.calls


@pytest.mark.integration
def test_a_file_that_was_uploaded_as_another_submission_is_not_uploaded_again(kaggle, upload, tmp_path):
    digest = sha256(tmp_path / "submissions" / "submission.csv")
    kaggle.messages.append(f"submission 7 {digest[:12]}")
    process = upload()
    assert process.returncode == 0 and "is on Kaggle already" in process.stdout, process.stderr
    assert "CreateSubmission" not in kaggle.calls and leaderboard(tmp_path) == ["0.985000"]


def test_a_hidden_public_score_is_no_error(kaggle, upload, tmp_path):
    kaggle.outcome = {"status": "COMPLETE"}
    process = upload()
    assert process.returncode == 0 and "shows no public score" in process.stdout and leaderboard(tmp_path) == [""]


@pytest.mark.integration
def test_a_rejected_file_can_be_uploaded_again(kaggle, upload):
    kaggle.outcome = {"status": "ERROR"}
    assert upload().returncode == 2
    kaggle.outcome = {"status": "COMPLETE", "publicScore": "0.98500"}
    kaggle.rejected = {1}
    process = upload()
    assert process.returncode == 0 and "98.500 ± 0.949 % on the leaderboard" in process.stdout, process.stderr
    assert kaggle.calls.count("CreateSubmission") == 2


def test_without_a_terminal_an_upload_must_be_confirmed_by_an_option(kaggle, upload):
    process = upload("--wait", "2s", stdin=subprocess.DEVNULL)
    assert process.returncode == 2 and "make upload NUMBER=1 COMPETITION=digits8 YES=1" in process.stderr
    assert "CreateSubmission" not in kaggle.calls


@pytest.mark.parametrize(("answer", "is_uploaded"), [("y", True), ("\n", False), ("no", False)])
def test_an_upload_is_confirmed_on_the_terminal(kaggle, upload, answer, is_uploaded):
    terminal, stdin = os.openpty()
    os.write(terminal, f"{answer}\n".encode())
    process = upload("--wait", "2s", stdin=stdin)
    os.close(terminal)
    os.close(stdin)
    question = "Upload submission 1 to digits8? This uses one of today's submissions. [y/N]"
    assert process.returncode == 0 and question in process.stdout, process.stderr
    assert ("CreateSubmission" in kaggle.calls) is is_uploaded
    assert ("not uploaded" in process.stdout) is not is_uploaded


def test_practice_competitions_are_never_uploaded(kaggle, command):
    process = command("upload", "--competition", "digits8", "--yes")
    assert (
        process.returncode == 2
        and "score it with `make grade COMPETITION=digits8`" in process.stderr
        and not kaggle.calls
    )


def test_an_upload_of_practice_names_the_competition_of_the_current_file(kaggle, upload, tmp_path):
    for folder in ("data", "submissions"):
        (tmp_path / folder / "digits8").rename(tmp_path / folder / "letters")
    process = upload()
    assert process.returncode == 2 and "digits8 is a practice competition" in process.stderr
    assert "submission.csv is for letters: `make upload COMPETITION=letters`" in process.stderr and not kaggle.calls


@pytest.fixture
def letters(kaggle, competition_folder, tmp_path):
    """A competition on the server, whose archive also has a large file."""
    archive = tmp_path / "on-the-server.zip"
    with zipfile.ZipFile(archive, "w") as members:
        for file in sorted(competition_folder.glob("*.csv")):
            members.write(file, file.name)
        members.writestr("more/noise.bin", os.urandom(5_000_000))
    kaggle.archive = archive.read_bytes()
    return tmp_path / "data" / "letters"


def test_a_competition_is_downloaded_and_unpacked(kaggle, letters, command):
    process = command("data", "--competition", "letters")
    assert process.returncode == 0, process.stderr
    assert "downloading letters from Kaggle (6 MB)" in process.stdout
    assert "data/letters: 600 training and 200 test images of 16x16" in process.stdout
    assert (letters / "letters.zip").read_bytes() == kaggle.archive
    assert not (letters / client.DOWNLOAD_FOLDER).exists()
    assert kaggle.calls == ["DownloadDataFiles", "ListDataFiles", "ListDataFiles", "DownloadDataFiles"]
    kaggle.calls.clear()
    assert command("data", "--competition", "letters").returncode == 0 and not kaggle.calls


def start_download(kaggle, tmp_path, letters):
    """Kill a download when most of the archive has been received."""
    kaggle.sent_bytes = 4_000_000
    arguments = [sys.executable, "-m", "competition", "data", "--competition", "letters"]
    path = os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])
    partial = letters / client.DOWNLOAD_FOLDER / "letters.zip"
    with subprocess.Popen(
        arguments, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.DEVNULL
    ) as process:
        wait_until(lambda: partial.exists() and partial.stat().st_size >= 3_000_000)
        process.kill()
    kaggle.sent_bytes = None
    kaggle.resumed.set()
    assert not (letters / "letters.zip").exists()
    return partial


@pytest.mark.integration
def test_a_killed_download_is_resumed(kaggle, letters, command, tmp_path):
    received = start_download(kaggle, tmp_path, letters).stat().st_size
    process = command("data", "--competition", "letters")
    assert process.returncode == 0, process.stderr
    assert kaggle.starts[-1] == received and (letters / "letters.zip").read_bytes() == kaggle.archive


@pytest.mark.integration
def test_a_killed_download_starts_again_if_the_archive_has_changed(kaggle, letters, command, tmp_path):
    start_download(kaggle, tmp_path, letters)
    kaggle.entity_tag = '"v2"'
    process = command("data", "--competition", "letters")
    assert process.returncode == 0, process.stderr
    assert kaggle.starts[-1] == 0 and (letters / "letters.zip").read_bytes() == kaggle.archive


def test_an_incomplete_archive_is_never_used(kaggle, letters, command):
    kaggle.archive = kaggle.archive[:-1000]
    process = command("data", "--competition", "letters")
    assert process.returncode == 2 and "the archive of letters is damaged; run the same command" in process.stderr
    assert not list(letters.rglob("letters.zip"))


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, "accept its rules at https://www.kaggle.com/competitions/letters/rules, then run"),
        (404, "Kaggle has no competition letters; its name is the last part of its URL"),
        (429, "Kaggle's limit of requests is reached"),
        (500, "Kaggle's client failed: refused"),
    ],
)
def test_what_kaggle_refuses_is_explained(kaggle, letters, command, status, message):
    kaggle.refusal = status
    process = command("data", "--competition", "letters")
    assert process.returncode == 2 and message in process.stderr and process.stderr.count("\n") == 1
    assert not letters.exists()


def test_a_download_without_credentials_says_how_to_log_in(kaggle, letters, command, monkeypatch):
    monkeypatch.delenv("KAGGLE_KEY")
    process = command("data", "--competition", "letters")
    assert process.returncode == 2 and "not logged in to Kaggle; run: " in process.stderr and not kaggle.calls
    assert process.stderr.count("\n") == 1 and "First, you will need" not in process.stdout


def test_a_download_needs_space_for_the_archive_and_its_files(tmp_path, monkeypatch):
    disk = namedtuple("Disk", "free")
    monkeypatch.setattr(client.shutil, "disk_usage", lambda folder: disk(7_000_000_000))
    partial = tmp_path / "letters" / ".download" / "letters.zip"
    client._check_disk_space(partial, 2_000_000_000, 4_000_000_000)
    with pytest.raises(UserError, match=rf"needs 7,700 MB .* only 7,000 MB are free; .*: df -h {tmp_path}$"):
        client._check_disk_space(partial, 2_000_000_000, 5_000_000_000)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(bytes(1_000_000))
    with pytest.raises(UserError, match="needs 7,699 MB"):  # without what is there already
        client._check_disk_space(partial, 2_000_000_000, 5_000_000_000)


@pytest.mark.parametrize(
    "place",
    [
        {"KAGGLE_API_TOKEN": "a"},
        {"KAGGLE_USERNAME": "a", "KAGGLE_KEY": "b"},
        ".kaggle/kaggle.json",
        ".kaggle/access_token",
        ".kaggle/credentials.json",
        ".config/kaggle/kaggle.json",
    ],
    ids=str,
)
def test_credentials_are_found_where_the_client_looks(place, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert not client.has_credentials()
    if isinstance(place, str):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
    else:
        for name, value in place.items():
            monkeypatch.setenv(name, value)
    assert client.has_credentials()
