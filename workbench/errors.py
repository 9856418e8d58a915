"""What the workbench raises. Every message says what happened, why, and what to do next."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any


class WorkbenchError(Exception):
    """Base of every error that the workbench raises on purpose.

    >>> try:
    ...     wb.load("fashion-vg")
    ... except wb.WorkbenchError as error:
    ...     print(error)
    There is no model named 'fashion-vg'. Did you mean 'fashion-vgg'? Known: ...
    """


class UnknownName(WorkbenchError):
    """A model, step, layer, split or column that does not exist."""


class BadValue(WorkbenchError):
    """A setting or an input outside what is allowed."""


class OutOfReach(BadValue):
    """A budget that a step cannot meet. `rows` are the lines of its plan, which say for every layer why."""

    def __init__(self, message: str, rows: Iterable[Any] = ()) -> None:
        super().__init__(message)
        self.rows = tuple(rows)


class BadFile(WorkbenchError):
    """A file that is missing, corrupt, or of a format that is not accepted."""


class NewerVersion(BadFile):
    """A file, or a row of a study, of a form that a newer workbench wrote and this one cannot read."""


class StepFailed(WorkbenchError):
    """A step could not be applied to this model."""


class MeasurementFailed(WorkbenchError):
    """A measurement could not be taken."""


class WorkersFailed(WorkbenchError):
    """The workers of an executor died, again and again, of what they were given."""


class ExportFailed(WorkbenchError):
    """An exported file did not reproduce what was measured."""


class ReplayFailed(WorkbenchError):
    """What a manifest's recipe makes of the original here is not what was exported."""


class StorageFailed(WorkbenchError, OSError):
    """Files could not be written or read: a full disk, a folder without permission, one that went away.

    It is an `OSError` too, for code that expects what the system raises.
    """


class OverQuota(WorkbenchError):
    """More memory, time or space than a visitor of this page may use."""


class Cancelled(WorkbenchError):
    """The user cancelled the job; everything finished before is kept."""


_short = reprlib.Repr()
_short.maxlevel, _short.maxlist, _short.maxtuple, _short.maxdict = 2, 4, 4, 12
_short.maxstring = _short.maxother = 80
_short.maxlong = 40


def shown(value: object) -> str:
    """A value as an error shows it: on one line, and short however large it is."""
    return " ".join(_short.repr(value).split())


def unknown(kind: str, value: object, known: Iterable[str]) -> UnknownName:
    """The error for a name that is not one of `known`, with the nearest match as a suggestion."""
    names = sorted(known)
    near = difflib.get_close_matches(str(value)[:80], names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return UnknownName(f"There is no {kind} named {shown(value)}.{hint} Known: {listed or 'none'}.")
