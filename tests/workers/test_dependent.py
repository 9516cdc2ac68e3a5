import os
import signal
import subprocess
import sys

import psutil
import pytest
from conftest import ROOT, wait_until

PARENT = """
import os, sys
from competition.workers.dependent import start_dependent
process = start_dependent("dependent_module", "an argument")
print(process.pid, flush=True)
process.wait()
"""
MODULE = """
import sys, time
assert __name__ == "__main__" and sys.argv[1:] == ["an argument"]
open("started", "w").close()
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_dependent_process_ends_soon_after_the_process_that_started_it(number, tmp_path):
    (tmp_path / "dependent_module.py").write_text(MODULE)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    arguments = [sys.executable, "-c", PARENT]
    with subprocess.Popen(arguments, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        wait_until((tmp_path / "started").exists)
        parent.send_signal(number)
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 5)
