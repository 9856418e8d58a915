"""Show a job's progress on the terminal or in a notebook while waiting for its result."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from workbench.errors import Cancelled
from workbench.jobs import Job, lasting

T = TypeVar("T")
_EVERY = 0.3  # seconds from one drawing in a notebook to the next
_WIDTH = 24  # characters of its bar


def follow(job: Job[T], progress: Callable[[float, str], None] | bool) -> T:
    """Wait for a job; show a bar (True), nothing (False), or call a function with (fraction, stage).

    In a notebook the bar is one output that is replaced, so that an executed one keeps a single line.

    An interrupt (Ctrl-C, the notebook's stop button) cancels the job.
    """
    try:
        if progress is True:
            return _bar(job) if _notebook() is None else _line(job, _notebook())
        if callable(progress):
            listener = progress
            job.on_change(lambda j: listener(j.progress.fraction, j.progress.stage))
            job.join()  # else the result could be here before the listener has heard of the end
        return job.result()
    except KeyboardInterrupt:
        job.cancel()
        raise Cancelled("Interrupted. Variants finished before are kept.") from None


def _notebook() -> Any:
    """What publishes a notebook's outputs, where one runs this; whoever runs it has imported IPython."""
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell.display_pub if getattr(shell, "kernel", None) is not None else None


def _line(job: Job[T], publisher: Any) -> T:
    """Follow a job in one output. A terminal's control codes would be kept there, frame after frame."""
    name, shown = uuid.uuid4().hex, ""

    def show(text: str) -> None:
        nonlocal shown
        if text != shown:
            publisher.publish({"text/plain": text}, transient={"display_id": name}, update=bool(shown))
            shown = text

    try:
        while not job.done:
            show(_drawn(job))
            try:
                job.result(timeout=_EVERY)
            except TimeoutError:
                continue
        return job.result()
    finally:
        show(f"{job.name}: {job.state if job.done else 'interrupted'}, {job.progress.seconds:.0f} s")


def _drawn(job: Job[T]) -> str:
    full = round(_WIDTH * job.progress.fraction)
    bar = "█" * full + "░" * (_WIDTH - full)
    return f"{job.name} {bar} {100 * job.progress.fraction:.0f} % {_said(job)}"


def _said(job: Job[T]) -> str:
    """The stage, and what is left of the whole job where that can be told."""
    left = job.progress.seconds_left
    return job.progress.stage + (f", {lasting(left)} left" if left is not None else "")


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
            bar.update(task, completed=job.progress.fraction, stage=_said(job))
            try:
                job.result(timeout=0.1)
            except TimeoutError:
                continue
        return job.result()
