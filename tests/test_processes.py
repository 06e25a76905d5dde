import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline.paths import ROOT
from slmrec.processes import deadline

HANGS = """
import subprocess, sys, time
from slmrec.processes import deadline

child = subprocess.Popen([sys.executable, "-c", {child!r}])
print(child.pid, flush=True)
with deadline(1.0, lambda message: print(message, flush=True)):
    time.sleep(600)
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
"""A child that does not listen."""
WAITS = """
import subprocess, sys
from slmrec.processes import deadline

{other}
with deadline(0.5, lambda message: print(message, flush=True)):
    subprocess.run([sys.executable, "-c", "import time; time.sleep(600)"])
print("ended well", flush=True)
"""
"""Waits for a child: it is woken when that is ended."""
NO_PYTHON = """
import ctypes
from slmrec import processes
processes.GRACE_SECONDS = 1.0
with processes.deadline(0.5, print):
    ctypes.PyDLL(None).sleep(600)  # holds the interpreter's lock, so no other thread can run
"""


def run(code: str) -> tuple[subprocess.CompletedProcess[str], float]:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    return done, time.monotonic() - started


def test_process_ends_with_its_children_when_it_hangs() -> None:
    done, seconds = run(HANGS.format(child=DEAF))
    child, message = done.stdout.splitlines()
    assert done.returncode == 4
    assert seconds < 1 + 10
    assert "took longer than 1 second and was ended" in message
    assert "timeout_minutes" in message
    assert "File" in done.stderr  # where it stood
    assert not psutil.pid_exists(int(child))


@pytest.mark.parametrize("other", ["", f"subprocess.Popen([sys.executable, '-c', {DEAF!r}])"])
def test_work_does_not_end_well_when_it_waits_for_a_child_that_is_ended(other: str) -> None:
    done, seconds = run(WAITS.format(other=other))
    assert done.returncode == 4
    assert "took longer than" in done.stdout.splitlines()[0]
    assert "ended well" not in done.stdout
    assert seconds < 0.5 + 10


ORPHAN = """
import subprocess, time
from slmrec.processes import deadline

with deadline(0.5, lambda message: None):
    lost = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; setsid sleep 600 >/dev/null & echo $!"], stdout=subprocess.PIPE
    )
    print(int(lost.stdout.readline()), flush=True)
    lost.wait()
    time.sleep(600)
"""
"""Starts a process in a session of its own, whose parent ends at once, and that does not listen."""


def test_what_lost_its_parent_ends_when_the_deadline_passes() -> None:
    done, seconds = run(ORPHAN)
    assert done.returncode == 4
    assert seconds < 0.5 + 10
    orphan = int(done.stdout)
    assert not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == "zombie"


KILLED = """
import subprocess, sys, time
from slmrec.processes import orphans_ended

step = "trap '' TERM; sleep 600 & echo $!; kill -9 $$"
with orphans_ended(lambda child: child.cmdline()[:1] == ["sh"], every_seconds=0.2):
    killed = subprocess.Popen(["sh", "-ec", step], stdout=subprocess.PIPE, text=True)
    print(killed.stdout.read(), killed.wait(), flush=True)  # until nobody holds the pipe
"""
"""A step that is killed while what it has started keeps its standard output open."""


def test_what_a_killed_child_has_left_ends_so_that_nobody_waits_for_it() -> None:
    done, seconds = run(KILLED)
    orphan, code = done.stdout.split()
    assert code == "-9", done.stderr
    assert seconds < 10
    assert not psutil.pid_exists(int(orphan)) or psutil.Process(int(orphan)).status() == "zombie"


SPARED = """
import subprocess
import psutil
from slmrec.processes import end_children

before, after = (subprocess.Popen(["sleep", "60"]) for _ in range(2))
end_children(spare={before.pid})
print(psutil.pid_exists(after.pid), psutil.Process(before.pid).status())
end_children()
print(psutil.pid_exists(before.pid))
"""


def test_processes_that_were_there_before_are_spared() -> None:
    done, _ = run(SPARED)
    assert done.stdout.split() == ["False", psutil.STATUS_SLEEPING, "False"], done.stderr


def test_process_ends_when_even_python_cannot_run() -> None:
    done, seconds = run(NO_PYTHON)
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert seconds < 0.5 + 10


def test_nothing_happens_later_when_the_work_is_done_in_time() -> None:
    done, _ = run(
        "import time\nfrom slmrec.processes import deadline\n"
        "with deadline(0.3, print):\n    pass\ntime.sleep(0.6)\nprint('alive')"
    )
    assert (done.returncode, done.stdout) == (0, "alive\n")


def test_deadline_is_taken_back_when_the_work_fails() -> None:
    told: list[str] = []
    with pytest.raises(KeyError), deadline(0.2, told.append):
        raise KeyError
    time.sleep(0.4)
    assert told == []
    assert Path(f"/proc/{os.getpid()}").exists()
