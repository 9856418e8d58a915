"""Progress in a notebook: one output that is replaced, whoever executes it."""

from __future__ import annotations

import pytest

WORK = """
import time
from workbench.jobs import Job
from workbench.progress import follow

def work(report):
    for n in range(30):
        report(n / 30, f"part {n}")
        time.sleep(0.1)
    if FAILS:
        raise ValueError("no more")
    return 7

print(follow(Job(work, name="some work"), True))
"""


@pytest.mark.parametrize("fails", [False, True])
def test_an_executed_notebook_keeps_one_line_of_progress(fails: bool) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    cell = nbformat.v4.new_code_cell(f"FAILS = {fails}" + WORK)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    nbclient.NotebookClient(notebook, timeout=120, allow_errors=True).execute()
    first, last = notebook.cells[0].outputs
    assert first.output_type == "display_data"
    state = "failed" if fails else "done"
    assert first.data["text/plain"].startswith(f"some work: {state}, ")
    if fails:
        assert last.evalue == "no more"
    else:
        assert last.text == "7\n"
