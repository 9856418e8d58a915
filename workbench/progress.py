"""Show a job's progress on the terminal or in a notebook while waiting for its result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from workbench.errors import Cancelled
from workbench.jobs import Job

T = TypeVar("T")


def follow(job: Job[T], progress: Callable[[float, str], None] | bool) -> T:
    """Wait for a job; show a bar (True), nothing (False), or call a function with (fraction, stage).

    An interrupt (Ctrl-C, the notebook's stop button) cancels the job.
    """
    try:
        if progress is True:
            return _bar(job)
        if callable(progress):
            listener = progress
            job.on_change(lambda j: listener(j.progress.fraction, j.progress.stage))
            job.join()  # else the result could be here before the listener has heard of the end
        return job.result()
    except KeyboardInterrupt:
        job.cancel()
        raise Cancelled("Interrupted. Variants finished before are kept.") from None


def _bar(job: Job[T]) -> T:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[stage]}"), TimeElapsedColumn())
    # Rich's own notebook display is an Output widget, which loses messages beside threads; and stdout stays in
    # place, since other threads print too.
    console = Console(force_jupyter=False)
    with Progress(*columns, transient=True, console=console, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task(job.name, total=1.0, stage="")
        while not job.done:
            bar.update(task, completed=job.progress.fraction, stage=job.progress.stage)
            try:
                job.result(timeout=0.1)
            except TimeoutError:
                continue
        return job.result()
