"""Kaggle's real client pushes kernels to a local server, which runs them in a session of its own."""

import json
import subprocess
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
from kaggle_session import Session
from miniatures import MINIATURES
from submission_rules import check_submission

from competition.cli.kernel import PUSHED_FILE
from competition.deploy import kaggle_kernels
from competition.deploy.kaggle_kernels import last_lines

CACTUS = MINIATURES["aerial-cactus-identification"]
SERVICE = "/v1/kernels.KernelsApiService/"
# A sitecustomize.py, which Python runs at startup: it redirects the client to the local server.
REDIRECT = """
from kagglesdk import kaggle_env
kaggle_env._env_to_endpoint[kaggle_env.KaggleEnv.PROD] = "http://localhost:{port}"
"""
FILES_PER_PAGE = 3


class Kaggle(BaseHTTPRequestHandler):
    """The part of Kaggle's API that kernels need."""

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        server, name = self.server, self.path.removeprefix(SERVICE)
        server.calls.append(name)
        if server.refusal:
            return self.reply({"code": server.refusal, "message": "refused"}, server.refusal)
        if name == "SaveKernel":
            server.requests.append(request)
            url = f"https://www.kaggle.com/code/{request['slug']}"
            if not server.response:
                server.start(request["text"])
            return self.reply({"ref": request["slug"], "url": url, "versionNumber": 1} | server.response)
        if "dataset" in name.lower() or "StartBlobUpload" in name:
            return self.reply_on_data_sets(name.split("/")[-1], request)
        if server.process is None:
            return self.reply({"code": 404, "message": "Not found"}, 404)
        if name == "GetKernelSessionStatus":
            return self.reply(server.status())
        if name == "ListKernelSessionOutput":
            return self.reply(server.outputs(int(request.get("pageToken") or 0)))
        return self.reply({"code": 404, "message": f"no {name}"}, 404)

    def reply_on_data_sets(self, name, request):
        server = self.server
        if name == "GetDatasetStatus":
            if not server.versions:
                return self.reply({"code": 404, "message": "Not found"}, 404)
            return self.reply({"status": "READY"})
        if name == "StartBlobUpload":
            return self.reply({"token": "t1", "createUrl": f"http://localhost:{server.server_port}/blob"})
        server.versions.append((name, server.received))
        return self.reply({"status": "ok", "url": "https://www.kaggle.com/datasets/someone/models", "error": ""})

    def do_PUT(self):
        self.server.received = self.rfile.read(int(self.headers["Content-Length"]))
        self.reply({})

    def do_GET(self):
        content = (self.server.session.working / self.path.removeprefix("/output/")).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def reply(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    """Kaggle with one kernel; each push starts a session."""

    def __init__(self, folder):
        super().__init__(("localhost", 0), Kaggle)
        self.folder, self.calls, self.requests = folder, [], []
        self.received, self.versions = b"", []  # of the data set of models
        self.session, self.process, self.response, self.refusal = None, None, {}, None

    def start(self, text):
        """Run the script in a new session, to which the outputs of the last one are attached if it asks for them."""
        last = self.session
        self.session = Session(self.folder / f"session-{len(self.requests)}")
        self.session.mount(CACTUS.write(self.folder), "newer")
        if last and self.requests[-1].get("kernelDataSources"):
            (self.session.inputs / "foldblend-cactus").symlink_to(last.working)
        for source in self.requests[-1].get("datasetDataSources", ()):
            pack = self.session.inputs / "datasets" / source / "models.pack"
            pack.parent.mkdir(parents=True)
            pack.write_bytes(self.versions[-1][1])
        script = self.session.temporary / "script.py"
        script.write_text(text)
        with (self.session.temporary / "log").open("w") as log:
            self.process = self.session.start(script, log)

    def status(self):
        code = self.process.poll()
        failure = {"failureMessage": f"exit status {code}"} if code else {}
        return {"status": "RUNNING" if code is None else "ERROR" if code else "COMPLETE"} | failure

    def outputs(self, first):
        """A page of the session's outputs, with the log as Kaggle stores it."""
        working = self.session.working
        files = sorted(path.relative_to(working).as_posix() for path in working.rglob("*") if path.is_file())
        address = f"http://localhost:{self.server_port}/output"
        page = [{"url": f"{address}/{name}", "fileName": name} for name in files[first : first + FILES_PER_PAGE]]
        log = (self.session.temporary / "log").read_text()
        records = [{"stream_name": "stdout", "time": 1.0, "data": line} for line in log.splitlines(keepends=True)]
        following = first + FILES_PER_PAGE
        token = {"nextPageToken": str(following)} if following < len(files) else {}
        return {"files": page, "log": json.dumps(records)} | token


@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    server = Server(tmp_path)
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
    server.shutdown()
    thread.join()
    server.server_close()
    if server.process and server.process.poll() is None:
        server.process.kill()
        server.process.wait()


@pytest.fixture
def kernel(command, tmp_path):
    """Run the command `kernel` for the miniature, whose archive is in data/."""
    folder = tmp_path / "data" / CACTUS.slug
    folder.mkdir()
    CACTUS.write(folder)

    def run(*arguments):
        return command("kernel", "--competition", CACTUS.slug, "--folds", "2", *arguments)

    return run


@pytest.mark.integration
def test_the_command_that_pushes_a_written_script_keeps_its_options(kaggle, kernel):
    result = kernel("--models", "knn mlp", "--blend", "mean", "--budget", "2h")
    assert result.returncode == 0, result.stdout + result.stderr
    expected = f"kernel COMPETITION={CACTUS.slug} MODELS='knn mlp' FOLDS=2 BLEND=mean BUDGET=7200s PUSH=1"
    assert expected in result.stdout


@pytest.mark.integration
def test_pushed_predictions_come_back_as_members_and_blend_with_local_ones(kaggle, kernel, command, tmp_path):
    result = kernel("--models", "knn mlp", "--push")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "pushed: https://www.kaggle.com/code/someone/foldblend-aerial-cactus-identification" in result.stdout
    assert "running" in result.stdout and "complete" in result.stdout and "folds to train" in result.stdout
    assert "@kaggle-knn: " in result.stdout and "@kaggle-mlp: " in result.stdout
    assert "kernelDataSources" not in kaggle.requests[0] and kaggle.requests[0]["enableGpu"]
    output = tmp_path / "kernels" / CACTUS.slug / "output"
    check_submission(output / "submission.csv", CACTUS.truth)
    models = "svm @kaggle-knn @kaggle-mlp"
    result = command("submit", "--competition", CACTUS.slug, "--folds", "2", "--models", models, "--blend", "mean")
    assert result.returncode == 0, result.stderr
    assert "now blends" in result.stdout and "@kaggle-mlp" in result.stdout
    check_submission(tmp_path / "submissions" / "submission.csv", CACTUS.truth)
    folds = list((tmp_path / "folds" / CACTUS.slug / "2-folds-seed-0").glob("@kaggle-mlp/fold-*.npz"))
    provenance = kaggle_provenance(folds[0])
    assert len(folds) == 2 and {"data", "split", "recipe", "source", "keras", "tensorflow", "imported"} <= set(
        provenance
    )
    assert provenance["member"] == "mlp" and len(list(folds[0].parent.glob("fold-*.keras"))) == 2
    result = command("kernel", "--competition", CACTUS.slug, "--infer")
    assert result.returncode == 0, result.stderr
    with zipfile.ZipFile(tmp_path / "kernels" / f"{CACTUS.slug}-infer" / "dataset" / "models.pack") as pack:
        assert {"svm/fold-0.skops", "@kaggle-knn/fold-0.skops", "@kaggle-mlp/fold-1.keras"} <= set(pack.namelist())

    pushed_again = kernel("--models", "knn mlp linear", "--push")
    assert pushed_again.returncode == 0, pushed_again.stdout + pushed_again.stderr
    assert kaggle.requests[1]["kernelDataSources"] == [f"someone/foldblend-{CACTUS.slug}"]
    log = (kaggle.session.temporary / "log").read_text()
    assert "continuing from" in log and "2 folds to train" in log and "@kaggle-linear: " in pushed_again.stdout


@pytest.mark.integration
def test_a_notebook_predicts_hidden_test_images_with_packed_models(kaggle, kernel, command, tmp_path):
    result = command("submit", "--competition", CACTUS.slug, "--folds", "2", "--models", "knn mlp linear")
    assert result.returncode == 0, result.stderr
    result = command("kernel", "--competition", CACTUS.slug, "--infer", "--push")
    assert result.returncode == 0, result.stdout + result.stderr
    output = tmp_path / "kernels" / f"{CACTUS.slug}-infer" / "output" / "submission.csv"
    check_submission(output, CACTUS.truth)
    expected, predicted = (pd.read_csv(path) for path in (tmp_path / "submissions" / "submission.csv", output))
    np.testing.assert_allclose(predicted["has_cactus"], expected["has_cactus"], atol=2e-3)
    assert kaggle.versions[0][0] == "CreateDataset" and kaggle.requests[0]["datasetDataSources"]

    hidden = Session(tmp_path / "hidden")
    rename_test_images(hidden.mount(CACTUS.write(tmp_path), "older"))
    pack = hidden.inputs / "foldblend-models" / "models.pack"
    pack.parent.mkdir()
    pack.write_bytes(kaggle.versions[0][1])
    script = tmp_path / "kernels" / f"{CACTUS.slug}-infer" / "foldblend_kernel.py"
    result = hidden.run(script)
    assert result.returncode == 0, result.stdout + result.stderr
    renamed = pd.read_csv(hidden.working / "submission.csv")
    assert renamed["id"].str.startswith("hidden-").all()
    np.testing.assert_allclose(renamed["has_cactus"], predicted["has_cactus"], atol=1e-6)

    assert command("kernel", "--competition", CACTUS.slug, "--infer", "--push").returncode == 0
    assert kaggle.versions[1][0] == "CreateDatasetVersion"
    pack.write_bytes(b"other models")
    result = hidden.run(script)
    assert result.returncode == 2 and "the models are not in" in result.stderr


def rename_test_images(mount):
    """Replace the test images by hidden ones, which have other names."""
    with zipfile.ZipFile(mount / "test.zip") as archive:
        images = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    with zipfile.ZipFile(mount / "test.zip", "w") as archive:
        for name, content in images.items():
            folder, _, file = name.rpartition("/")
            archive.writestr(f"{folder}/hidden-{file}" if folder else f"hidden-{file}", content)
    sample = mount / "sample_submission.csv"
    header, *rows = sample.read_text().splitlines()
    sample.write_text("\n".join([header, *(f"hidden-{row}" for row in rows)]) + "\n")


def kaggle_provenance(path):
    from competition.crossval.predictions import read_fold

    return read_fold(path).provenance


@pytest.mark.integration
def test_a_pushed_kernel_is_not_pushed_again_before_its_outputs_are_fetched(kaggle, kernel, tmp_path):
    kaggle.requests.append({})
    kaggle.start("import pathlib; pathlib.Path('submission.csv').touch(); print('done')")
    kaggle.process.wait()
    folder = tmp_path / "kernels" / CACTUS.slug
    folder.mkdir(parents=True)
    (folder / PUSHED_FILE).write_text('{"folds": 3, "seed": 1}')
    result = kernel("--push")
    assert "it is not pushed again" in result.stdout and "SaveKernel" not in kaggle.calls
    assert result.returncode == 2
    assert "no member of 3-folds-seed-1 was completed; push again to continue" in result.stderr
    assert not (folder / PUSHED_FILE).exists()


@pytest.mark.integration
def test_a_kernel_that_was_deleted_is_pushed_by_the_next_run(kaggle, kernel, tmp_path):
    folder = tmp_path / "kernels" / CACTUS.slug
    folder.mkdir(parents=True)
    (folder / PUSHED_FILE).write_text('{"folds": 5, "seed": 0}')
    result = kernel("--push")
    assert result.returncode == 2 and "; run the same command again to push it" in result.stderr
    assert not (folder / PUSHED_FILE).exists()


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (
            {"error": "Maximum weekly GPU quota of 30.00 hours has been reached."},
            "error: Kaggle did not start the kernel: Maximum weekly GPU quota of 30.00 hours has been reached.; wait",
        ),
        (
            {"invalidCompetitionSources": [CACTUS.slug]},
            f"Kaggle could not attach the competition {CACTUS.slug}; its name is the last part of its URL",
        ),
        ({"invalidKernelSources": ["someone/another"]}, "Kaggle could not attach someone/another"),
    ],
)
def test_what_kaggle_answers_to_a_push_is_explained(kaggle, kernel, response, message, tmp_path):
    kaggle.response = response
    result = kernel("--push")
    assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "kernels" / CACTUS.slug / PUSHED_FILE).exists()


@pytest.mark.parametrize(("status", "message"), [(429, "limit of requests"), (500, "Kaggle's client failed: refused")])
def test_a_refused_request_is_explained(kaggle, kernel, status, message):
    kaggle.refusal = status
    result = kernel("--push")
    assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.integration
def test_a_session_that_fails_is_reported_with_the_end_of_its_log(kaggle, kernel, tmp_path):
    kaggle.requests.append({})
    kaggle.start("print('before'); raise SystemExit(3)")
    kaggle.process.wait()
    folder = tmp_path / "kernels" / CACTUS.slug
    folder.mkdir(parents=True)
    (folder / PUSHED_FILE).write_text('{"folds": 5, "seed": 0}')
    result = kernel("--push")
    assert result.returncode == 2 and "the session on Kaggle failed: exit status 3; the log is in" in result.stderr
    assert "before" in result.stdout and "before" in (folder / "output" / f"foldblend-{CACTUS.slug}.log").read_text()


def test_without_credentials_a_push_says_how_to_log_in_and_the_folder_is_written_with_a_placeholder(
    kaggle, kernel, monkeypatch, tmp_path
):
    monkeypatch.delenv("KAGGLE_KEY")
    result = kernel("--push")
    assert result.returncode == 2 and "not logged in to Kaggle; run: " in result.stderr and not kaggle.calls
    result = kernel()
    assert (
        result.returncode == 0
        and "not logged in to Kaggle; to push by hand, replace YOUR-KAGGLE-NAME in the metadata" in result.stdout
    )
    metadata = json.loads((tmp_path / "kernels" / CACTUS.slug / "kernel-metadata.json").read_text())
    assert metadata["id"] == f"YOUR-KAGGLE-NAME/foldblend-{CACTUS.slug}" and not kaggle.calls


def test_the_end_of_a_log_is_shown():
    records = [{"stream_name": "stdout", "time": 1, "data": text} for text in ("one\n", "two ", "three\n\n", "four\n")]
    assert last_lines(json.dumps(records), 2) == ["two three", "four"]
    assert last_lines("one\ntwo", 1) == ["two"] and last_lines("", 3) == []


def test_practice_is_not_pushed(kaggle, command):
    result = command("kernel", "--competition", "digits8", "--push", stdin=subprocess.DEVNULL)
    assert result.returncode == 2 and "is a practice competition, which is not on Kaggle" in result.stderr
    assert not kaggle.calls


def test_a_status_that_ends_is_known_to_the_client():
    from kagglesdk.kernels.types.kernels_enums import KernelWorkerStatus

    assert set(kaggle_kernels.ENDED) < {status.name for status in KernelWorkerStatus}
