"""Kaggle's real client, run against a local server that implements the endpoints it calls."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import ROOT

from competition.submission.log import SubmissionLog

SERVICE = "/v1/competitions.CompetitionApiService/"
# A sitecustomize.py, which Python runs at startup: it redirects the client to the local server.
REDIRECT = """
from kagglesdk import kaggle_env
kaggle_env._env_to_endpoint[kaggle_env.KaggleEnv.PROD] = "http://localhost:{port}"
"""


class Kaggle(BaseHTTPRequestHandler):
    """The part of Kaggle's API that an upload needs."""

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        server = self.server
        server.calls.append(self.path.removeprefix(SERVICE))
        if server.token not in (self.headers.get("Authorization") or ""):
            return self.reply({"code": 401, "message": "Unauthenticated error: who are you?"}, 401)
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
                {"ref": 1, "date": now, "fileName": "submission.csv", "description": message, **server.outcome}
                for message in server.messages
            ]
            return self.reply({"submissions": submissions})
        return self.reply({})

    def do_PUT(self):
        self.server.received = self.rfile.read(int(self.headers["Content-Length"]))
        self.reply({})

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
    server.token, server.limit_reached = "", False
    server.outcome = {"status": "COMPLETE", "publicScore": "0.98500"}
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    (tmp_path / "redirect").mkdir()
    (tmp_path / "redirect" / "sitecustomize.py").write_text(REDIRECT.format(port=server.server_port))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "redirect"))
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", "something")
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    yield server
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

    def run(*arguments):
        return command("upload", "--competition", "digits8", *arguments)

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
    assert kaggle.calls[:2] == ["StartSubmissionUpload", "CreateSubmission"]


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
    assert process.returncode == 2 and "Authentication required" in process.stderr and "auth login" in process.stderr


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
def test_a_timeout_is_reported_with_the_command_to_record_the_score(kaggle, upload, tmp_path):
    kaggle.outcome = {"status": "PENDING"}
    process = upload("--wait", "2s")
    assert process.returncode == 2 and "no score from Kaggle after 2 s" in process.stderr
    assert re.search(r"make record-score COMPETITION=\S+ NUMBER=1 VALUE=SCORE", process.stderr), process.stderr


@pytest.mark.integration
def test_practice_competitions_are_never_uploaded(kaggle, command, tmp_path):
    assert command("submit", "--competition", "digits8", "--folds", "2", "--models", "knn").returncode == 0
    process = command("upload", "--competition", "digits8")
    assert (
        process.returncode == 2
        and "score it with `make grade COMPETITION=digits8`" in process.stderr
        and not kaggle.calls
    )
