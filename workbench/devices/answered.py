"""What a device answered: times in turns, by row (a backend and its threads), and how often it answers otherwise.

Raw times of blocks come from the device; ratios and their intervals are made of them here, as of those of the desk.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import BadFile
from workbench.estimate import Estimate, exact, wilson
from workbench.measure.latency import Timings

if TYPE_CHECKING:
    import pandas as pd

#: Rounds (sessions, rounds, variants) of milliseconds: in a round each variant was timed once, in random order.
Rounds = tuple[tuple[tuple[float, ...], ...], ...]
WASM, WEBGPU = "wasm", "webgpu"
TITLES = {WASM: "WebAssembly in its browser", WEBGPU: "WebGPU in its browser"}
#: The figures of a variant on a device, as columns begin.
LATENCY, SPEEDUP = "latency_ms on ", "speedup on "
#: A session with fewer rounds than this does not count.
FEW = 3


@dataclass(frozen=True)
class Row:
    """One way to run networks on a device; `variants` are ids, the original's first."""

    backend: str
    threads: int
    variants: tuple[str, ...]
    load_ms: tuple[tuple[float, ...], ...]  # (sessions, variants): until a file was ready to run
    rounds: Rounds
    latency: Mapping[str, Estimate] = field(default_factory=dict)  # milliseconds for one input, by id
    speedup: Mapping[str, Estimate] = field(default_factory=dict)  # over the original, in turns with it
    sustained: tuple[tuple[float, ...], ...] = ()  # (points, 1 + variants): seconds since the start, milliseconds
    note: str = ""  # why nothing was measured

    @property
    def title(self) -> str:
        """As sentences call it: `WebAssembly in its browser, 4 threads`."""
        many = "" if self.backend == WEBGPU else f", {self.threads} threads" if self.threads > 1 else ", one thread"
        return TITLES[self.backend] + many

    @property
    def runtime(self) -> str:
        """What runs it, as the portability matrix names runtimes."""
        return f"onnxruntime-web-{self.backend}"

    @property
    def suffix(self) -> str:
        """What follows the device's name in columns: nothing for the processor with one thread."""
        many = f", {self.threads} threads" if self.threads > 1 else ""
        return ", WebGPU" if self.backend == WEBGPU else many


@dataclass(frozen=True)
class Answers:
    """A variant's outputs on test inputs there, against those of the same file here.

    `differing` of `n` answers are others (an input may have several, such as a mask's); None where outputs are
    values, of `n` inputs then. `largest` is the largest difference of an output.
    """

    n: int
    differing: int | None
    largest: float

    @property
    def disagreement(self) -> Estimate | None:
        """The share of other answers, with its interval."""
        return None if self.differing is None else wilson(self.differing, self.n)


@dataclass(frozen=True)
class Device:
    """A device on which variants of a study were measured, by a page in its browser."""

    id: str
    name: str  # as its visitor calls it
    browser: str  # what the browser says of itself
    created: str  # ISO 8601, UTC
    cores: int
    isolated: bool  # whether its clock is fine and threads are possible
    rows: tuple[Row, ...] = ()
    answers: Mapping[str, Answers] = field(default_factory=dict)  # by id of the variant
    finished: bool = False  # it measured all that it could

    @property
    def estimates(self) -> dict[str, dict[str, Estimate]]:
        """By variant, then by column: `latency_ms on Pixel 8`, `speedup on Pixel 8, 4 threads`."""
        found: dict[str, dict[str, Estimate]] = {}
        for row in self.rows:
            for start, figures in ((LATENCY, row.latency), (SPEEDUP, row.speedup)):
                for one, figure in figures.items():
                    found.setdefault(one, {})[f"{start}{self.name}{row.suffix}"] = figure
        return found

    def slower(self, variant: str) -> dict[str, str]:
        """A sentence for each row in which a variant is surely slower than the original, by the row's column."""
        found = ((row, row.speedup[variant]) for row in self.rows if variant in row.speedup)
        return {
            f"{self.name}{row.suffix}": f"On {self.name} ({row.title}) it is slower than the original: "
            f"{speed.value:.2f}× ({speed.low:.2f} to {speed.high:.2f})."
            for row, speed in found
            if speed.high < 1
        }

    def over_time(self) -> pd.DataFrame:
        """What keeping on for minutes did to its speed: columns row, seconds, variant (an id), latency_ms."""
        import pandas as pd

        rows = [
            (row.title, seconds, one, ms)
            for row in self.rows
            for seconds, *times in row.sustained
            for one, ms in zip(row.variants, times, strict=True)
        ]
        return pd.DataFrame(rows, columns=["row", "seconds", "variant", "latency_ms"])

    def to_json(self) -> str:
        """What `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, identity: str, text: str) -> Device:
        """The device that `to_json` wrote. Raises: `BadFile` for anything else."""
        try:
            found = json.loads(text)
            rows = tuple(_row(one) for one in found.pop("rows"))
            answers = {str(key): Answers(**one) for key, one in found.pop("answers").items()}
            return cls(**found | {"id": identity, "rows": rows, "answers": answers})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BadFile(f"What the device {identity} answered cannot be read: {type(error).__name__}.") from error


def _row(found: dict[str, Any]) -> Row:
    for name in ("latency", "speedup"):
        found[name] = {str(key): Estimate(**one) for key, one in found[name].items()}
    for name in ("variants", "load_ms", "rounds", "sustained"):
        found[name] = _tuples(found[name])
    return Row(**found)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def timings(rounds: Sequence[Sequence[Sequence[float]]], threads: int) -> Timings | None:
    """Rounds as the desk has them, of equally many in each session; None while there are too few.

    Of sessions of different lengths so many rounds are taken as leave most of them in all, the last ones of each: what
    a browser compiles anew while it runs is faster by then.
    """
    lengths = [len(one) for one in rounds if len(one) >= FEW]
    if not lengths:
        return None
    least = max(lengths, key=lambda length: (length * sum(one >= length for one in lengths), -length))
    times = np.array([session[-least:] for session in rounds if len(session) >= least])  # (sessions, rounds, variants)
    return Timings(tuple(times[:, :, index] for index in range(times.shape[2])), 1, threads)


def measured(row: Row) -> Row:
    """A row with the figures that its rounds make."""
    found = timings(row.rounds, row.threads)
    if found is None:
        return row
    places = list(enumerate(row.variants))
    latency = {one: found.latency(index) for index, one in places}
    speedup = {one: found.speedup(index) if index else exact(1.0) for index, one in places}
    return replace(row, latency=latency, speedup=speedup)


def by_age(devices: Mapping[str, Device]) -> list[Device]:
    """The oldest first."""
    return sorted(devices.values(), key=lambda one: one.created)


def slower(devices: Sequence[Device], variant: str) -> list[str]:
    """What a verdict says of devices, oldest first: of a name that came again only what was found last."""
    found: dict[str, str] = {}
    for device in devices:
        for row in device.rows:
            if variant in row.speedup:
                found.pop(f"{device.name}{row.suffix}", None)
        found |= device.slower(variant)
    return list(found.values())


def by_variant(devices: Iterable[Device]) -> dict[str, dict[str, Estimate]]:
    """The figures of several devices, oldest first: of a name that came again the later figure counts."""
    found: dict[str, dict[str, Estimate]] = {}
    for device in devices:
        for variant, figures in device.estimates.items():
            found.setdefault(variant, {}).update(figures)
    return found
