"""One device: what came from it so far, piece by piece. What cannot be is refused, and what came before it stays."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, count, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.devices import checks
from workbench.devices.answered import WASM, WEBGPU, Device, Row, measured
from workbench.devices.offer import SESSIONS as MOST_SESSIONS
from workbench.devices.offer import Offer
from workbench.devices.refusal import Refused

#: Half of an interval, as a logarithm, at which a ratio is known well enough; and the sessions that it needs.
NARROW, SESSIONS = 0.05, 3
#: What one row may hold at most: rounds in a session, points of keeping on.
MOST_ROUNDS, MOST_POINTS = 400, 400
MOST_ROWS = 4
#: Seconds by which a device may claim to have worked longer than it was here: clocks differ.
SLACK_S = 2.0


@dataclass(eq=False)
class Taken:
    """A row as it grows."""

    backend: str
    threads: int
    load_ms: list[tuple[float, ...]] = field(default_factory=list)
    rounds: list[list[tuple[float, ...]]] = field(default_factory=list)
    sustained: list[tuple[float, ...]] = field(default_factory=list)
    note: str = ""
    _made: Row | None = None  # the figures of its rounds, which take a second to make

    def row(self, variants: tuple[str, ...]) -> Row:
        """With the figures so far."""
        rounds = tuple(map(tuple, self.rounds))
        if self._made is None or self._made.rounds != rounds:
            self._made = measured(Row(self.backend, self.threads, variants, tuple(self.load_ms), rounds))
        return replace(self._made, sustained=tuple(self.sustained), note=self.note)


class Received:
    """What one device sent. Used from the server's thread; figures are made on another one."""

    def __init__(self, identity: str, offer: Offer, clock: Callable[[], float] = time.monotonic) -> None:
        self.id, self.offer, self._clock = identity, offer, clock
        self._began = clock()
        self.name, self.browser, self.cores, self.isolated = "", "", 1, False
        self.created = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.rows: list[Taken] = []
        self._values: dict[int, npt.NDArray[np.float32]] = {}
        self.finished = False
        self._lock = threading.Lock()

    def introduce(self, body: bytes, others: Collection[str]) -> None:
        """Who it says that it is; where other devices are called so, with a number behind. Raises: `Refused`."""
        said = checks.message(body, {"browser": str, "name": str, "cores": int, "isolated": bool})
        cores = checks.whole(said["cores"], "The number of its cores", 1, 1024)
        browser, name = checks.line(said["browser"], "What its browser says of itself"), checks.name(said["name"])
        numbered = (f"{name[:36].rstrip(' -')} {k}" for k in count(2))
        free = next(one for one in chain([name], numbered) if one not in others)
        self.browser, self.name, self.cores, self.isolated = browser, self.name or free, cores, said["isolated"]

    def rename(self, body: bytes, others: Collection[str]) -> None:
        """What its visitor calls it. Raises: `Refused`, also for the name of another device."""
        name = checks.name(checks.message(body, {"name": str})["name"])
        if name in others:
            raise Refused(f"Another device is called {name} already. Choose another name.")
        self.name = name

    def times(self, body: bytes) -> Taken:
        """Rounds of one session. What came already is left as it is, so that a device may send it twice.

        Raises: `Refused`.
        """
        numbers = {"threads": int, "session": int, "start": int}
        said = checks.message(body, {"offer": str, "backend": str, **numbers, "load_ms": list, "rounds": list})
        taken = self._row(said)
        least = checks.floors(self.offer.macs, taken.backend, taken.threads)
        load = checks.times(said["load_ms"], [0.0] * len(least), "The time of loading")
        session = checks.whole(said["session"], "The number of the session", 0, len(taken.rounds))
        known = len(taken.rounds[session]) if session < len(taken.rounds) else 0
        start = checks.whole(said["start"], "The number of the first round", 0, known)
        rounds = [checks.times(one, least, "A round") for one in said["rounds"]]
        if session >= MOST_SESSIONS or start + len(rounds) > MOST_ROUNDS:
            raise Refused(f"More than {MOST_SESSIONS} sessions of {MOST_ROUNDS} rounds are not taken.")
        new = rounds[known - start :]
        self._believe([load, *new] if session == len(taken.rounds) else new)
        with self._lock:
            if session == len(taken.rounds):
                taken.rounds.append([])
                taken.load_ms.append(load)
            taken.rounds[session] += new
            self._add(taken)
        return taken

    def sustain(self, body: bytes) -> None:
        """Points of keeping on: seconds since its start, and milliseconds of each network. Raises: `Refused`."""
        said = checks.message(body, {"offer": str, "backend": str, "threads": int, "points": list})
        taken, here = self._row(said), self._clock() - self._began + SLACK_S
        least = [0.0, *checks.floors(self.offer.macs, taken.backend, taken.threads)]
        points = [checks.times(one, least, "A point") for one in said["points"]]
        if any(b[0] <= a[0] for a, b in pairwise(points)) or any(one[0] > here for one in points):
            raise Refused("The times of keeping on do not follow one another, or have not come yet.")
        if len(points) > MOST_POINTS:
            raise Refused(f"More than {MOST_POINTS} points are not taken.")
        with self._lock:
            taken.sustained = points
            self._add(taken)

    def fail(self, body: bytes) -> None:
        """Why a row could not be measured, or not to its end. Raises: `Refused`."""
        said = checks.message(body, {"offer": str, "backend": str, "threads": int, "why": str})
        taken, why = self._row(said), checks.line(said["why"], "The reason")
        with self._lock:
            taken.note = why
            self._add(taken)

    def outputs(self, index: int, start: int, body: bytes) -> None:
        """Outputs (n, width) of a network, float32, for the inputs from `start` on. Raises: `Refused`."""
        checks.whole(index, "The number of the network", 0, len(self.offer.variants) - 1)
        known = self._values.get(index, np.zeros((0, self.offer.width), np.float32))
        checks.whole(start, "The number of the first input", 0, len(known))
        inputs, rest = divmod(len(body), 4 * self.offer.width)
        if rest or not 0 < inputs <= self.offer.count - start:
            raise Refused(
                f"{len(body):,} bytes of outputs came; a network gives {self.offer.width:,} numbers of 4 bytes for "
                f"each of {self.offer.count} inputs."
            )
        values = np.frombuffer(body, "<f4").reshape(inputs, self.offer.width)
        if not np.isfinite(values).all():
            raise Refused(
                f"Outputs of {self.offer.variants[index].name} are no numbers (NaN or infinity) on this device, so its "
                "answers are not compared."
            )
        with self._lock:
            self._values[index] = np.concatenate([known, values[len(known) - start :]])

    @property
    def answered(self) -> list[int]:
        """For how many inputs each network's outputs came."""
        return [len(self._values.get(index, ())) for index in range(len(self.offer.variants))]

    def device(self) -> Device:
        """What is known of it by now. Takes a second where outputs are to be compared."""
        with self._lock:  # figures of two requests are made one after the other
            rows = [one.row(self.offer.ids) for one in self.rows]
            values = {k: one for k, one in self._values.items() if len(one)}
        answers = {self.offer.ids[k]: self.offer.compare(k, one) for k, one in sorted(values.items())}
        about = (self.id, self.name, self.browser, self.created, self.cores, self.isolated)
        return Device(*about, rows=tuple(rows), answers=answers, finished=self.finished)

    def _row(self, said: dict[str, Any]) -> Taken:
        """The row that a message is about, which may be new. Raises: `Refused` for another offer's."""
        if said["offer"] != self.offer.digest:
            raise Refused("These are results of other networks than those that were given to this device.")
        if said["backend"] not in (WASM, WEBGPU):
            raise Refused(f"There is no backend {said['backend']!r:.40}; known are {WASM} and {WEBGPU}.")
        threads = checks.whole(said["threads"], "The number of threads", 1, self.cores)
        found = [one for one in self.rows if (one.backend, one.threads) == (said["backend"], threads)]
        if not found and len(self.rows) >= MOST_ROWS:
            raise Refused(f"More than {MOST_ROWS} ways to run networks are not taken from one device.")
        return found[0] if found else Taken(said["backend"], threads)

    def _add(self, taken: Taken) -> None:
        if taken not in self.rows:
            self.rows.append(taken)

    def _believe(self, new: list[tuple[float, ...]]) -> None:
        """Refuse more work than there was time for since the device came."""
        known = sum(sum(one) for row in self.rows for session in row.rounds for one in session)
        claimed = (known + sum(map(sum, new))) / 1e3
        here = self._clock() - self._began
        if claimed > here + SLACK_S:
            raise Refused(
                f"The device says that it worked {claimed:,.0f} s, and it came {here:,.0f} s ago. Such times cannot be."
            )


def enough(row: Row) -> bool:
    """Whether every ratio of a row is known well enough."""
    ratios = [one for one in row.speedup.values() if one.n > 1]
    ready = len(row.rounds) >= SESSIONS and bool(row.speedup)
    return ready and all(math.log(one.high / one.low) / 2 <= NARROW for one in ratios)
