"""Whether workers can do what they will be asked: they answer, have this workbench, and take the study's metric."""

from __future__ import annotations

import pickle
import pkgutil
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, wait
from typing import Any

import workbench
from workbench.errors import BadValue, Cancelled, OverQuota, shown
from workbench.jobs import Reporter
from workbench.workers import remote

#: Seconds for the first worker to answer: a cluster may have to start one.
PATIENCE_S = 120.0
_POLL_S = 0.2


def check(executor: Executor, asked: tuple[Any, Any], report: Reporter) -> None:
    """Raise `BadValue` unless an executor takes work, with this version of the workbench and what a study asks.

    `asked` are the task and the metric as the study was told.
    """
    kind, here = type(executor).__name__, workbench.__version__
    try:
        there = _answer(executor, pkgutil.resolve_name, "workbench:__version__", report)
    except (ImportError, AttributeError) as error:
        raise BadValue(
            f"The workers of this {kind} have no workbench ({error}), and this process has {here}. Install "
            f"nn-workbench=={here} where they run."
        ) from error
    except (BadValue, Cancelled, OverQuota):
        raise
    except Exception as error:  # whatever an executor raises that takes no work
        raise BadValue(
            f"This {kind} takes no work ({type(error).__name__}: {error}). Give one that is open, as in 'with "
            "ProcessPoolExecutor(2) as pool: study.search(executor=pool)'; in a script below "
            "'if __name__ == \"__main__\":', since its processes import the script."
        ) from error
    if there != here:
        raise BadValue(other_version(there))
    if not all(one is None or isinstance(one, str) for one in asked):
        _check_asked(executor, asked, report)


def other_version(there: str) -> str:
    """A sentence on a worker with another version."""
    here = workbench.__version__
    return (
        f"A worker has workbench {there}, and this process has {here}: they would not measure the same. Install "
        f"nn-workbench=={here} where the workers run."
    )


def _check_asked(executor: Executor, asked: tuple[Any, Any], report: Reporter) -> None:
    try:
        if isinstance(executor, ProcessPoolExecutor):
            pickle.dumps(asked)  # it would break the pool
        _answer(executor, remote.takes, asked, report)
    except (Cancelled, OverQuota):
        raise
    except Exception as error:  # whatever pickle, the executor or the user's own module raises
        what = ", ".join(shown(one) for one in asked if one is not None and not isinstance(one, str))
        raise BadValue(
            f"The study's task or metric, {what}, cannot be sent to the workers of this {type(executor).__name__} "
            f"({type(error).__name__}: {error}). Define it at the top of a module that they can import, or take a "
            "metric by its name; a pool of threads needs neither."
        ) from error


def _answer(executor: Executor, function: Callable[[Any], Any], argument: Any, report: Reporter) -> Any:
    """What a function gives on a worker. Raises: what it or the executor raises; `BadValue` where nobody answers."""
    future = executor.submit(function, argument)
    end = time.monotonic() + PATIENCE_S
    try:
        while not wait([future], timeout=_POLL_S).done:
            report(0.0, "waiting for a worker")
            if time.monotonic() > end:
                raise BadValue(
                    f"No worker of this {type(executor).__name__} has answered in {PATIENCE_S:.0f} seconds. Has it any "
                    "that is free? Start one, and search again."
                )
    finally:
        future.cancel()
    return future.result()
