"""GPUs are found by asking the library; a driver and libraries are imitated by programs."""

import sys

import pytest

from competition.models import gpus
from competition.models.gpus import DETECTED, gpu_precision, usable_gpus
from competition.models.networks.recipe import native_precision


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A function that imitates a machine whose driver lists these capabilities, of which the backend finds `usable`."""

    def imitate(capabilities, usable=None, visible=None):
        driver = tmp_path / "nvidia-smi"
        lines = "".join(f"echo '{number}, {capability}'\n" for number, capability in enumerate(capabilities))
        driver.write_text(f"#!/bin/sh\n{lines}")
        driver.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        usable = len(capabilities) if usable is None else usable
        monkeypatch.setattr(gpus, "COUNT", {"tensorflow": f"print('a message'); print({usable})"})
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    for function in (usable_gpus, native_precision):
        function.cache_clear()
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setenv(DETECTED, "")
    monkeypatch.delenv(DETECTED)
    yield imitate
    for function in (usable_gpus, native_precision):
        function.cache_clear()


@pytest.mark.parametrize(
    ("capability", "precision"),
    [("6.0", "float32"), ("7.5", "mixed_float16"), ("8.0", "mixed_bfloat16"), ("9.0", "mixed_bfloat16")],
)
def test_the_precision_is_that_of_the_gpu(machine, capability, precision):
    machine([capability, "9.0"])
    assert gpu_precision() == native_precision() == precision


def test_a_gpu_that_the_library_does_not_find_is_not_used(machine):
    machine(["7.5", "7.5"], usable=0)
    assert usable_gpus() == () and gpu_precision() is None


@pytest.mark.parametrize(
    ("visible", "names"), [(None, ["0", "1"]), ("1", ["1"]), ("", []), ("-1", []), ("GPU-1a", ["GPU-1a"])]
)
def test_hidden_gpus_are_not_used(machine, visible, names):
    machine(["7.5", "8.0"], usable=None if visible is None else 1, visible=visible)
    assert [gpu.name for gpu in usable_gpus()] == names


def test_worker_processes_inherit_what_was_detected(machine, monkeypatch):
    machine(["7.5", "7.5"])
    assert len(usable_gpus()) == 2
    usable_gpus.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert len(usable_gpus()) == 2 and gpu_precision() == "mixed_float16"


def test_the_programs_that_ask_libraries_run():
    import subprocess

    for backend in ("tensorflow", "jax"):
        program = subprocess.run(
            [sys.executable, "-c", gpus.COUNT[backend]], capture_output=True, text=True, check=True
        )
        assert program.stdout.split()[-1].isdecimal()
