"""The page over real HTTP, and in a real browser."""

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

from competition.crossval.folds import frozen
from competition.crossval.store import Store
from competition.data.dataset import load
from competition.models.member import Member

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory, competition_folder):
    """The page's address, its process, and the rows that its models were not taught."""
    folder = tmp_path_factory.mktemp("demo")
    shutil.copytree(competition_folder, folder / "data" / "digits8")
    run = [sys.executable, "-m", "competition"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    small = ["--competition", "digits8", "--folds", "3", "--models", "knn", "svm", "--blend", "tempered"]
    subprocess.run([*run, "submit", *small], cwd=folder, env=environment, check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = [*run, "demo", "--competition", "digits8", "--port", str(port)]
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
        dataset = load(folder / "data" / "digits8")
        store = Store(folder / "folds" / "digits8", dataset, frozen(dataset, folder / "folds" / "digits8", 3, 0))
        said = store.predictions(Member.named("svm")).oof
        unseen = np.flatnonzero((store.folds.held_out == 0) & (said.argmax(axis=1) == dataset.labels))
        sure = unseen[np.argsort(-said[unseen].max(axis=1))]
        yield address, server, [(dataset.images[row], str(dataset.classes[dataset.labels[row]])) for row in sure[:40]]
        server.terminate()


def ask(address, body):
    request = Request(address + "predict", body, {"Content-Type": "application/json"})
    with urlopen(request) as reply:
        return json.load(reply)


def question(image):
    buffer = BytesIO()
    Image.fromarray(image[..., 0]).save(buffer, "PNG")
    return json.dumps({"image": base64.b64encode(buffer.getvalue()).decode()}).encode()


def test_it_answers_with_the_blend_each_vote_and_what_was_seen(served):
    address, _, rows = served
    for image, label in rows[:5]:
        said = ask(address, question(image))
        assert said["label"] == label and set(said["votes"]) == {"knn", "svm"}
        assert sum(said["probabilities"].values()) == pytest.approx(1, abs=1e-3)
        seen = Image.open(BytesIO(base64.b64decode(said["seen"].split(",")[1])))
        assert seen.size == (16, 16) and not said["is_empty"]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, "must be JSON"),
        (b"[]", 400, "must be JSON"),
        (b'{"image": 7}', 400, "must be JSON"),
        (b'{"image": "???"}', 400, "must be JSON"),
        (b'{"image": "aGVsbG8="}', 400, "no picture that can be read"),
        (b"x" * 2_500_000, 413, "larger than"),
    ],
)
def test_what_it_cannot_answer_it_refuses_with_the_reason(body, status, reason, served):
    with pytest.raises(HTTPError) as refused:
        ask(served[0], body)
    with refused.value as reply:
        assert reply.code == status and reason in json.load(reply)["error"]


def test_twenty_clients_are_answered_and_nothing_grows(served):
    address, server, rows = served
    questions = [question(image) for image, _ in rows]
    waited = []

    def client(number):
        for turn in range(25):
            start = time.perf_counter()
            ask(address, questions[(number + turn) % len(questions)])
            waited.append(time.perf_counter() - start)

    def load_it():
        clients = [threading.Thread(target=client, args=(number,)) for number in range(20)]
        start = time.perf_counter()
        for one in clients:
            one.start()
        for one in clients:
            one.join()
        return 500 / (time.perf_counter() - start)

    load_it()
    before = psutil.Process(server.pid).memory_info().rss
    rate = load_it()
    grown = (psutil.Process(server.pid).memory_info().rss - before) / 2**20
    print(f"{rate:.0f} answers a second, the median after {1000 * np.median(waited):.0f} ms, {grown:.1f} MiB more")
    assert len(waited) == 1000 and rate > 50 and grown < 30


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser_a_digit_drawn_stroke_by_stroke_is_read(scheme, served, faultless):
    address, _, rows = served
    tab = faultless(address, 400, scheme)
    box = tab.locator("#paper").bounding_box()
    right = 0
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
        tab.wait_for_function("!asking")
        right += tab.locator("#label").inner_text() == label
    assert right >= 5
    assert tab.locator("#bars i").count() == 10 and tab.locator("#seen").is_visible()
    tab.click("#examples button >> nth=3")
    tab.wait_for_function("!asking && document.querySelector('#time').textContent")
