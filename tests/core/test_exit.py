"""Python exits in an orderly way, and at once, whatever jobs and screens are doing on threads of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TRAINS = """
study = wb.Study(tiny_model(), tiny_data())
begun = threading.Event()
job = study.submit(wb.Finetune(epochs=200))
job.on_change(lambda job: "epoch" in job.progress.stage and begun.set())
waits = study.submit(wb.SVD(rank=0.5))
begun.wait(60)
"""
PLANS = """
model = tiny_model()

def plan(report):
    for n in range(10**9):
        wb.Tucker(0.1 + n % 80 / 100).plan(model)

Job(plan)
time.sleep(0.5)
"""
DEAF = """
def work(report):
    weight = torch.randn(50, 50, requires_grad=True)
    while True:
        with contextlib.suppress(Exception):
            torch.linalg.svd(weight).S.sum().backward()

Job(work)
time.sleep(0.2)
"""
ASLEEP = """
Job(lambda report: time.sleep(1000))
"""
SCREEN = """
from workbench_widgets.background import Background
from workbench_widgets.latest_only import Latest
from workbench_widgets.store import State, Store

def work(*_):
    while True:
        torch.linalg.svd(torch.randn(50, 50))

Latest(work)
Latest(work).ask(1)
Background(Store(State())).spawn(work)
time.sleep(0.2)
"""


def left(*busy: str, end: str = "") -> subprocess.CompletedProcess[str]:
    """A Python that ends while its threads are busy; it never waits for the thousand seconds that one of them takes."""
    head = "import contextlib, sys, threading, time\nimport torch\nimport workbench as wb\n"
    head += "from tiny import tiny_data, tiny_model\nfrom workbench.jobs import Job\n"
    paths = [HERE, HERE.parent.parent, HERE.parent.parent / "widgets"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [sys.executable, "-W", "ignore", "-c", head + "\n".join((*busy, end))]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)


@pytest.mark.parametrize("busy", [(TRAINS, PLANS), (DEAF, ASLEEP), (SCREEN,)], ids=["jobs", "deaf jobs", "screen"])
def test_an_exit_in_the_midst_of_work_is_clean(busy: tuple[str, ...]) -> None:
    found = left(*busy)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_the_exit_keeps_its_code_and_its_words() -> None:
    found = left(DEAF, end="print('finished'); sys.exit('so long')")
    assert (found.returncode, found.stdout, found.stderr) == (1, "finished\n", "so long\n")


def test_cleaning_up_after_a_cancelled_job_comes_before_the_end() -> None:
    """A job that listens has time to put its things in order."""
    work = """
def work(report):
    try:
        while True:
            report(0.5, "on")
    finally:
        time.sleep(0.3)
        print("in order", flush=True)

Job(work)
time.sleep(0.2)
"""
    assert left(work).stdout == "in order\n"
