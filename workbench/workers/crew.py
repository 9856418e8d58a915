"""The workers of one search: recipes go out to them, and what they answer comes back as files."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import errors
from workbench.errors import BadValue, MeasurementFailed, WorkbenchError, WorkersFailed
from workbench.jobs import Reporter
from workbench.measure.figures import Measured
from workbench.measure.latency import usual_seconds
from workbench.recipe import Recipe
from workbench.workers import remote
from workbench.workers.checking import check, other_version
from workbench.workers.evaluating import ONNX, STATE
from workbench.workers.order import Clocked, Clocking, Evaluated, Failed, Missing, Order, Refused, with_data
from workbench.workers.pool import Gone, Pool, WorkerDied, Workers
from workbench.workers.shelf import shelf

if TYPE_CHECKING:
    from workbench.data import Data

Sent = Mapping[str, bytes]
#: So many workers may die of one recipe.
DEATHS = 3
#: So often a recipe is given out again where workers lack what they need, or lose it.
TRIES = 8


class Crew:
    """Workers that carry out recipes for a study. Use it from several threads; close it at the end.

    Raises: `BadValue` for an executor that takes no work, or whose workers lack this version of the workbench.
    """

    def __init__(self, workers: Workers, order: Order, data: Data, report: Reporter) -> None:
        self._order, self._data = order, data
        self._notes: list[str] = []
        self._lock = threading.Lock()
        for executor in filter(None, (workers.executor, workers.timing)):
            check(executor, order.asked, report)
        remote.sweep(shelf())
        self._pool = Pool(workers.executor, workers.count)
        self._timing = None if workers.timing is None else Pool(workers.timing)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()
        if self._timing is not None:
            self._timing.close()

    @property
    def notes(self) -> list[str]:
        """What should be known of the workers, in sentences."""
        more = self._timing.notes if self._timing is not None else []
        return list(dict.fromkeys([*self._notes, *self._pool.notes, *more]))

    @property
    def count(self) -> int:
        """How many variants are under way at once."""
        return self._pool.count

    @property
    def times(self) -> bool:
        """Whether there are workers that are marked for timing."""
        return self._timing is not None

    def evaluated(self, recipe: Recipe, baseline: Path, folder: Path, report: Reporter) -> Measured:
        """Have a recipe carried out and judged; its artefact and its network are written to `folder`.

        Raises: `WorkersFailed` where workers died of it, `Gone` where there are none left; what carrying it out raises.
        """
        order = replace(self._order.of(recipe), baseline=shelf().put(baseline), threads=self._pool.threads)
        found = self._asked(self._pool, remote.evaluate, order, recipe.name, report)
        assert isinstance(found, Evaluated)
        self._compare(found.made_with)
        (folder / ONNX).write_bytes(found.onnx)
        (folder / STATE).write_bytes(found.state)
        for note in found.notes:
            report.note(note)
        return Measured(dict(found.estimates), dict(found.samples))

    def timed(self, name: str, artefact: Path, baseline: Path, report: Reporter) -> Clocked:
        """Have an artefact timed in turns with the original's, on a worker that is marked for it.

        Raises: `Gone` where there are none; as `measure_latency`.
        """
        if self._timing is None:
            raise Gone
        order = Clocking(shelf().put(artefact), shelf().put(baseline), usual_seconds())
        found = self._asked(self._timing, remote.clock, order, name, report)
        assert isinstance(found, Clocked)
        return found

    def _asked(self, pool: Pool, function: Callable[..., Any], order: Any, name: str, report: Reporter) -> Any:
        """An answer that is one. Raises: as `evaluated`."""
        sent: Sent = {}
        deaths = 0
        for _ in range(TRIES):
            order = replace(order, token=secrets.token_hex(8))
            try:
                answer = self._answer(pool.alone if deaths else pool.ask, function, order, sent, report)
            except WorkerDied as error:
                deaths = DEATHS if error.surely else deaths + 1
                if deaths >= DEATHS:
                    raise WorkersFailed(
                        f"{name} was left out: {DEATHS} workers ended while they were at it. They may have run out of "
                        "memory."
                    ) from error
                continue
            if not isinstance(answer, Missing):
                return answer
            if answer.data:
                order = self._packed(order)
            sent = shelf().contents(answer.files)
        raise WorkersFailed(
            f"{name} was left out: workers lost what they were sent {TRIES} times. Are their disks full?"
        )

    def _answer(
        self, ask: Callable[..., Any], function: Callable[..., Any], order: Any, sent: Sent, report: Reporter
    ) -> Any:
        mark = remote.recall(shelf(), order.token)
        try:
            answer = ask(function, order, sent, report=report)
        except WorkerDied:
            raise
        except BaseException:
            mark.touch()  # a worker of this machine that is at it stops
            raise
        if isinstance(answer, Refused):
            raise BadValue(other_version(answer.version))
        if isinstance(answer, Failed):
            raise _error(answer)
        return answer

    def _packed(self, order: Order) -> Order:
        """With the data as numbers, since a worker cannot open them."""
        with self._lock:
            if self._order.packed is None:
                self._order = with_data(self._order, self._data, shelf())
                place = order.opened[0] if order.opened is not None else ""
                self._notes.append(
                    f"Not every worker finds {place} as it is here, so the data were sent to it as numbers."
                )
        return replace(order, packed=self._order.packed)

    def _compare(self, there: Mapping[str, str]) -> None:
        """Say where a worker's packages are others than those here."""
        for package, here in remote.made_with().items():
            if there.get(package, "") != here:
                other = there.get(package) or "-"
                said = f"A worker has {package} {other}, this process {here or '-'}: figures may differ."
                with self._lock:
                    self._notes += [] if said in self._notes else [said]


def _error(failed: Failed) -> WorkbenchError:
    """The error that a worker told of."""
    kind = getattr(errors, failed.kind, MeasurementFailed)
    return kind(failed.message) if issubclass(kind, WorkbenchError) else MeasurementFailed(failed.message)
