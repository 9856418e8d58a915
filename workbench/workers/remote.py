"""What workers run: functions at the top of a module, of plain values, that any executor can send."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar

import workbench
from workbench.data import Data
from workbench.data.travelling import reopened, unpack
from workbench.errors import BadFile, BadValue, WorkbenchError
from workbench.jobs import Reporter
from workbench.measure.affordable import drawn
from workbench.measure.figures import timed
from workbench.measure.machine import machine
from workbench.models.model import Model
from workbench.models.structure import load_form
from workbench.recipe import Recipe
from workbench.tasks import recognise, seen_of
from workbench.workers.evaluating import ONNX, STATE, Subject, judge, make
from workbench.workers.order import Clocked, Clocking, Evaluated, Failed, Missing, Order, Refused
from workbench.workers.shelf import Shelf, shelf

#: What figures may depend on beside the workbench.
PACKAGES = ("torch", "onnxruntime", "numpy")
#: torch's generator, its exporter and Python's warnings are of the whole process: threads take turns to build.
_BUILDING = threading.RLock()
_LOOK_S, _OLD_S = 0.5, 24 * 3600


class Lacking(Exception):
    """Data that cannot be opened here."""


class Recalled(threading.Event):
    """Set once whoever asked, on the same machine, does not want it any more: there is a file of the order's token."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._file, self._looked = recall(shelf(), token), 0.0

    def is_set(self) -> bool:
        """Looks at most twice a second."""
        if time.monotonic() - self._looked > _LOOK_S:
            self._looked = time.monotonic()
            if self._file.exists():
                self.set()
        return super().is_set()


def recall(where: Shelf, token: str) -> Path:
    """The file that recalls an order."""
    return where.folder / f"{token}.recalled"


def sweep(where: Shelf) -> None:
    """Remove what recalled orders of long ago."""
    for file in where.folder.glob("*.recalled"):
        with suppress(OSError):
            if time.time() - file.stat().st_mtime > _OLD_S:
                file.unlink()


def takes(_asked: object) -> bool:
    """Whether what a study asks can be sent here: it was, if this runs."""
    return True


def evaluate(order: Order, sent: Mapping[str, bytes]) -> Evaluated | Missing | Refused | Failed:
    """Carry out an order; `sent` are files that a worker lacked."""
    missing = _prepared(order, sent)
    if missing is not None:
        return missing
    try:
        return _evaluated(order)
    except Lacking:
        return Missing(data=True)
    except WorkbenchError as error:
        return _failed(error)


def clock(order: Clocking, sent: Mapping[str, bytes]) -> Clocked | Missing | Refused | Failed:
    """Time an artefact in turns with the original's, on this machine."""
    missing = _prepared(order, sent)
    if missing is not None:
        return missing
    files = [shelf().folder / name for name in order.files]
    try:
        figures = timed(files[0], files[1], _reporter(order.token), order.seconds)
    except WorkbenchError as error:
        return _failed(error)
    return Clocked(figures, f"{machine().processor} ({machine().fingerprint})")


def made_with() -> dict[str, str]:
    """Versions of what figures may depend on; "" for what is not installed."""
    found = dict.fromkeys(PACKAGES, "")
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _prepared(order: Order | Clocking, sent: Mapping[str, bytes]) -> Missing | Refused | None:
    """What stands in the way of an order; None where nothing does."""
    if order.version != workbench.__version__:
        return Refused(workbench.__version__)
    shelf().take(sent)
    missing = shelf().missing(order.files)
    return Missing(tuple(missing)) if missing else None


def _evaluated(order: Order) -> Evaluated:
    for home in order.homes:
        _imported(home)
    report, recipe = _reporter(order.token), Recipe.from_json(order.recipe)
    subject, unfinished = _subject(order), _unfinished(order)
    baseline = shelf().folder / order.baseline
    with tempfile.TemporaryDirectory(prefix="workbench-") as temporary:
        folder = Path(temporary)
        with _BUILDING:
            if order.threads is not None:
                _limit(order.threads)
            make(subject, recipe, folder, report, unfinished)
        found = judge(subject, recipe, folder / ONNX, baseline if order.baseline else folder / ONNX, report)
        onnx, state = (folder / ONNX).read_bytes(), (folder / STATE).read_bytes()
    shutil.rmtree(unfinished, ignore_errors=True)
    return Evaluated(onnx, state, found.estimates, found.samples, tuple(filter(None, report.notes)), made_with())


def _subject(order: Order) -> Subject:
    """What the order's recipe is carried out on. Raises: `Lacking`."""
    opened = _Opened.of(order)
    task = recognise(seen_of(opened.model.module, opened.model.example, opened.data["test"]), *order.asked)
    data = replace(opened.data, task=task)
    return Subject(opened.model, data if order.inputs is None else drawn(data, order.inputs), task, order.recalibrate)


@dataclass(frozen=True)
class _Opened:
    """A model and data as they were opened in this process: those asked for last are kept."""

    model: Model
    data: Data

    kept: ClassVar[dict[tuple[str, str], _Opened]] = {}
    lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def of(cls, order: Order) -> _Opened:
        key = order.model, order.data_content
        with cls.lock:
            if key not in cls.kept:
                found = cls._opened(order)
                cls.kept.clear()
                cls.kept[key] = found
            return cls.kept[key]

    @classmethod
    def _opened(cls, order: Order) -> _Opened:
        form = load_form(shelf().folder / order.model)
        model = Model(form.graph, form.example, order.name, order.source, form.notes)
        if model.hash != order.content:
            raise BadFile(f"The model {order.name} came to this worker as another one. Search again.")
        data = unpack(order.packed, shelf().folder) if order.packed else None
        data = data or reopened(order.opened, model.example, order.data_content)
        if data is None:
            raise Lacking
        return cls(model, data)


def _imported(home: str) -> None:
    try:
        importlib.import_module(home)
    except ImportError as error:
        raise BadValue(
            f"A step of this recipe is defined in {home}, which a worker cannot import ({error}). Put it into a module "
            "that is installed where the workers run."
        ) from error


def _reporter(token: str) -> Reporter:
    report = Reporter()
    report.cancelled = Recalled(token)
    return report


def _failed(error: WorkbenchError) -> Failed:
    return Failed(type(error).__name__, str(error))


def _limit(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _unfinished(order: Order) -> Path:
    """Where steps that train keep what another worker of this machine needs to go on, should this one die."""
    content = json.dumps([order.content, order.data_content, order.recipe, order.recalibrate])
    return shelf().folder / "unfinished" / hashlib.sha256(content.encode()).hexdigest()[:32]
