"""Kaggle's real client against a server on this machine that speaks the endpoints which it calls."""

import json
import os
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import ROOT

from competition.submission.log import Ledger

SERVICE = "/v1/competitions.CompetitionApiService/"
# Python runs it at its start: the client's address of Kaggle becomes that of the server here.
REDIRECT = """
from kagglesdk import kaggle_env
kaggle_env._env_to_endpoint[kaggle_env.KaggleEnv.PROD] = "http://localhost:{port}"
"""


class Kaggle(BaseHTTPRequestHandler):
    """As much of Kaggle as an upload needs."""

    def do_POST(self):
        sent = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        server = self.server
        server.calls.append(self.path.removeprefix(SERVICE))
        if server.token not in (self.headers.get("Authorization") or ""):
            return self.answer({"code": 401, "message": "Unauthenticated error: who are you?"}, 401)
        if self.path == f"{SERVICE}StartSubmissionUpload":
            return self.answer({"token": "t1", "createUrl": f"http://localhost:{server.server_port}/blob"})
        if self.path == f"{SERVICE}CreateSubmission":
            if server.limit_reached:
                return self.answer({"code": 400, "message": "error: no submission left today"}, 400)
            server.messages.append(sent["submissionDescription"])
            return self.answer({"message": "Successfully submitted", "ref": 1})
        if self.path == f"{SERVICE}ListSubmissions":
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            listed = [
                {"ref": 1, "date": now, "fileName": "submission.csv", "description": message, **server.outcome}
                for message in server.messages
            ]
            return self.answer({"submissions": listed})
        return self.answer({})

    def do_PUT(self):
        self.server.received = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({})

    def answer(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *what):
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
def with_submission(competition_folder, tmp_path_factory):
    """A folder with a competition that has no sealed answers, and a submission for it."""
    folder = tmp_path_factory.mktemp("submitted")
    shutil.copytree(competition_folder, folder / "data" / "digits8", ignore=shutil.ignore_patterns("sealed"))
    arguments = ("submit", "--competition", "digits8", "--folds", "2", "--models", "knn")
    run = [sys.executable, "-m", "competition", *arguments]
    subprocess.run(run, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, capture_output=True)
    return folder


@pytest.fixture
def submitted(command, with_submission, tmp_path):
    """Uploads the submission from a copy of that folder."""
    shutil.rmtree(tmp_path / "data")
    shutil.copytree(with_submission, tmp_path, dirs_exist_ok=True)

    def upload(*more):
        return command("upload", "--competition", "digits8", *more)

    return upload


def leaderboard(tmp_path):
    return Ledger(tmp_path / "submissions").lines()["leaderboard"].tolist()


def test_a_submission_is_uploaded_and_its_score_recorded(kaggle, submitted, tmp_path):
    done = submitted()
    assert done.returncode == 0, done.stderr
    assert "98.500 ± 0.949 % on the leaderboard" in done.stdout
    assert kaggle.received == (tmp_path / "submissions" / "submission.csv").read_bytes()
    assert kaggle.messages[0].startswith("submission 1 ") and leaderboard(tmp_path) == ["0.985000"]
    assert kaggle.calls[:2] == ["StartSubmissionUpload", "CreateSubmission"]


def test_kaggles_reason_for_a_refused_file_is_passed_on(kaggle, submitted, tmp_path):
    kaggle.outcome = {"status": "ERROR", "errorDescription": "Evaluation Exception: id 7 is missing"}
    done = submitted()
    assert done.returncode == 2 and "refuses" in done.stderr and "id 7 is missing" in done.stderr
    assert leaderboard(tmp_path) == [""]


def test_the_daily_limit_is_told(kaggle, submitted, tmp_path):
    kaggle.limit_reached = True
    done = submitted()
    assert done.returncode == 2 and "no submission left today" in done.stderr and "Traceback" not in done.stderr


def test_wrong_credentials_are_told_with_the_command_that_mends_them(kaggle, submitted):
    kaggle.token = "another"
    done = submitted()
    assert done.returncode == 2 and "Authentication required" in done.stderr and "auth login" in done.stderr


def test_credentials_stand_in_nothing_that_is_told_or_left(kaggle, submitted, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_KEY", "a-key-of-someone")
    for token in ("", "another"):  # a success, and a failure
        kaggle.token = token
        done = submitted()
        assert "a-key-of-someone" not in done.stdout + done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "ledger.csv" for path in files)
    assert not [path for path in files if b"a-key-of-someone" in path.read_bytes()]


def test_a_score_that_does_not_come_in_time_is_told_with_what_to_do_later(kaggle, submitted, tmp_path):
    kaggle.outcome = {"status": "PENDING"}
    done = submitted("--wait", "2s")
    assert done.returncode == 2 and "no score after 2 s" in done.stderr and "competition score" in done.stderr


def test_embedded_competitions_are_never_uploaded(kaggle, command, tmp_path):
    assert command("submit", "--competition", "digits8", "--folds", "2", "--models", "knn").returncode == 0
    done = command("upload", "--competition", "digits8")
    assert done.returncode == 2 and "is embedded here" in done.stderr and not kaggle.calls
