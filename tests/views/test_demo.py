"""The demo over HTTP and in a browser."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from io import BytesIO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
import psutil
import pytest
from conftest import ROOT
from PIL import Image

from competition.crossval.folds import load_or_make_folds
from competition.crossval.store import Store
from competition.data.dataset import load_dataset
from competition.models.member import Member

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory, competition_folder):
    """The demo's address and process, and (image, label) of rows that its models were not trained on."""
    folder = tmp_path_factory.mktemp("demo")
    shutil.copytree(competition_folder, folder / "data" / "digits8")
    program = [sys.executable, "-m", "competition"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    options = ["--competition", "digits8", "--folds", "3", "--models", "knn svm", "--blend", "tempered"]
    subprocess.run([*program, "submit", *options], cwd=folder, env=environment, check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", 0)) as free_socket:
        port = free_socket.getsockname()[1]
    arguments = [*program, "demo", "--competition", "digits8", "--port", str(port)]
    address = f"http://127.0.0.1:{port}/"
    with subprocess.Popen(arguments, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as server:
        deadline = time.monotonic() + 60
        while True:
            try:
                urlopen(address).close()
                break
            except URLError:
                assert time.monotonic() < deadline and server.poll() is None
                time.sleep(0.1)
        dataset = load_dataset(folder / "data" / "digits8")
        store = Store(
            folder / "folds" / "digits8", dataset, load_or_make_folds(dataset, folder / "folds" / "digits8", 3, 0)
        )
        oof = store.predictions(Member.parse("svm")).oof
        correct = np.flatnonzero((store.folds.held_out == 0) & (oof.argmax(axis=1) == dataset.labels))
        rows = correct[np.argsort(-oof[correct].max(axis=1))][:40]
        yield address, server, [(dataset.images[row], str(dataset.classes[dataset.labels[row]])) for row in rows]
        server.terminate()


def request_prediction(address, body):
    request = Request(address + "predict", body, {"Content-Type": "application/json"})
    with urlopen(request) as response:
        return json.load(response)


def request_body(image):
    buffer = BytesIO()
    Image.fromarray(image[..., 0]).save(buffer, "PNG")
    return json.dumps({"image": base64.b64encode(buffer.getvalue()).decode()}).encode()


def test_a_prediction_has_the_blend_the_votes_and_the_model_input(demo):
    address, _, rows = demo
    for image, label in rows[:5]:
        prediction = request_prediction(address, request_body(image))
        assert prediction["label"] == label and set(prediction["votes"]) == {"knn", "svm"}
        assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=1e-3)
        model_input = Image.open(BytesIO(base64.b64decode(prediction["model_input"].split(",")[1])))
        assert model_input.size == (16, 16) and not prediction["is_empty"]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, "must be JSON"),
        (b"[]", 400, "must be JSON"),
        (b'{"image": 7}', 400, "must be JSON"),
        (b'{"image": "???"}', 400, "must be JSON"),
        (b'{"image": "aGVsbG8="}', 400, "cannot be read; send a PNG"),
        (b"x" * 2_500_000, 413, "larger than"),
    ],
)
def test_an_invalid_request_is_refused_with_the_reason(body, status, reason, demo):
    with pytest.raises(HTTPError) as error:
        request_prediction(demo[0], body)
    with error.value as response:
        assert response.code == status and reason in json.load(response)["error"]


def fetch_status(address, path, body=None, **headers):
    request = Request(address + path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urlopen(request) as response:
            return response.status
    except HTTPError as error:
        with error:
            return error.code


def test_pages_of_other_sites_are_refused(demo):
    address, _, rows = demo
    body, port = request_body(rows[0][0]), address.rstrip("/").rpartition(":")[2]
    assert fetch_status(address, "predict", body, Origin=f"http://127.0.0.1:{port}") == 200
    assert fetch_status(address, "predict", body, Host=f"localhost:{port}", Origin=f"http://localhost:{port}") == 200
    others = ("http://example.org", "null", f"https://127.0.0.1:{port}", "http://127.0.0.1", f"http://localhost:{port}")
    for origin in (*others, f"http://127.0.0.1:{port}.example.org"):
        assert fetch_status(address, "predict", body, Origin=origin) == 403, origin
        assert fetch_status(address, "examples", Origin=origin) == 403, origin
    # A name of another site that was made to point to this machine: the browser takes its pages for the demo's.
    for host in ("example.org", f"example.org:{port}", "127.0.0.1.example.org", "localhost.example.org", "0.0.0.0"):
        for path, data in (("", None), ("examples", None), ("predict", body)):
            assert fetch_status(address, path, data, Host=host, Origin=f"http://{host}") == 400, (host, path)


def test_nothing_but_the_page_is_served(demo):
    assert fetch_status(demo[0], "") == fetch_status(demo[0], "examples") == 200
    for path in (
        "docs",
        "redoc",
        "openapi.json",
        "page.html",
        "../server.py",
        "%2e%2e/%2e%2e/etc/passwd",
        "predict/..",
    ):
        assert fetch_status(demo[0], path) == 404, path
    assert fetch_status(demo[0], "predict") == 405 == fetch_status(demo[0], "", b"{}")


def test_twenty_concurrent_clients_are_served_without_a_memory_leak(demo):
    address, server, rows = demo
    bodies = [request_body(image) for image, _ in rows]
    latencies = []

    def send_requests(client):
        for turn in range(25):
            start = time.perf_counter()
            request_prediction(address, bodies[(client + turn) % len(bodies)])
            latencies.append(time.perf_counter() - start)

    def measure_rate():
        clients = [threading.Thread(target=send_requests, args=(client,)) for client in range(20)]
        start = time.perf_counter()
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        return 500 / (time.perf_counter() - start)

    measure_rate()
    before = psutil.Process(server.pid).memory_info().rss
    rate = measure_rate()
    growth = (psutil.Process(server.pid).memory_info().rss - before) / 2**20
    print(f"{rate:.0f} requests/s, median latency {1000 * np.median(latencies):.0f} ms, memory +{growth:.1f} MiB")
    assert len(latencies) == 1000 and rate > 50 and growth < 30


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1440, "dark")])
def test_a_digit_drawn_in_a_browser_is_recognized(width, scheme, demo, open_accessible_page):
    address, _, rows = demo
    tab = open_accessible_page(address, width, scheme)
    box = tab.locator("#canvas").bounding_box()
    correct = 0
    for image, label in rows[:6]:
        tab.click("#clear")
        assert tab.locator("#label").inner_text() == ""
        step = box["width"] / image.shape[1]
        for row, line in enumerate(image[..., 0] > 120):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(int), [0]])))
            for left, end in edges.reshape(-1, 2):
                y = box["y"] + (row + 0.5) * step
                tab.mouse.move(box["x"] + (left + 0.5) * step, y)
                tab.mouse.down()
                tab.mouse.move(box["x"] + (end - 0.5) * step, y, steps=2)
                tab.mouse.up()
        tab.wait_for_function("!pending")
        correct += tab.locator("#label").inner_text() == label
    assert correct >= 5
    assert tab.locator("#bars i").count() == 10 and tab.locator("#model-input").is_visible()
    tab.click("#examples button >> nth=3")
    tab.wait_for_function("!pending && document.querySelector('#time').textContent.startsWith('confidence')")
