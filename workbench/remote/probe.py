"""`Probe`: what another machine answered, and where a study keeps it."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import MeasurementFailed
from workbench.estimate import Estimate, wilson
from workbench.files.disk import told
from workbench.measure.latency import Timings
from workbench.measure.speed_probe import fastest_of

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "probes"
MEASURED = ("latency_ms", "speedup", "accuracy", "disagreement")
COLUMNS = (
    "device", "variant", "runtime", "threads",
    *(f"{name}{end}" for name in MEASURED for end in ("", "_low", "_high")),
    "largest_logit_difference", "load_ms", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Rounds:
    """Milliseconds (sessions, rounds, variants), the slower pulse beside each, and of loading (sessions, variants)."""

    times: tuple[tuple[tuple[float, ...], ...], ...]
    pulses: tuple[tuple[tuple[float, ...], ...], ...]
    load_ms: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, times: Sequence[Any], pulses: Sequence[Any], load_ms: Sequence[Any]) -> Rounds:
        """Of equally many rounds in each session; a session that was cut off early is left out."""
        most = max(map(len, times))
        kept = [index for index, one in enumerate(times) if len(one) >= max(2, most / 2)]
        if not kept:
            raise MeasurementFailed("Not two rounds were timed before it ended. Try again, for more seconds.")
        least = min(len(times[index]) for index in kept)
        chosen = [[[tuple(row) for row in many[index][:least]] for index in kept] for many in (times, pulses)]
        first, second = (tuple(map(tuple, one)) for one in chosen)
        return cls(first, second, tuple(tuple(load_ms[index]) for index in kept))

    def timings(self, threads: int) -> Timings:
        """As the desk has them: what disturbed moments there did counts as noise."""
        times, pulses = (np.moveaxis(np.array(one), 2, 0) for one in (self.times, self.pulses))
        slowed = np.log(np.maximum(pulses / fastest_of(pulses), 1.0))
        return Timings(tuple(times), 1, threads, tuple(slowed))


@dataclass(frozen=True)
class Answers:
    """Answers on `n` places of the test inputs: how many differ from the same file's here (None where outputs are
    values), the largest difference of an output, and how many are right where labels are known.
    """

    n: int
    differing: int | None
    largest: float
    right: int | None = None


@dataclass(frozen=True)
class Probe:
    """Variants on another machine; ids, the original's first. `here` is what it says of itself: versions, cores."""

    host: str
    created: str  # ISO 8601, UTC
    here: Mapping[str, Any]
    variants: tuple[str, ...]
    threads: int
    rounds: Rounds = field(repr=False)
    answers: Mapping[str, Answers] = field(repr=False)
    note: str = ""  # what came in between

    @property
    def latency(self) -> dict[str, Estimate]:
        """Milliseconds at batch 1, by id."""
        found = self.rounds.timings(self.threads)
        return {one: found.latency(index) for index, one in enumerate(self.variants)}

    @property
    def speedup(self) -> dict[str, Estimate]:
        """How many times as fast as the original there, in turns with it, by id."""
        found = self.rounds.timings(self.threads)
        return {one: found.speedup(index) for index, one in enumerate(self.variants)}

    def frame(self) -> pd.DataFrame:
        """One row a variant, with the columns of the portability matrix: see `COLUMNS`.

        `speedup` is over the original on that machine; `disagreement` is with the same file's answers here.
        """
        import pandas as pd

        latency, speedup = self.latency, self.speedup
        loads = np.median(np.array(self.rounds.load_ms), axis=0) if self.rounds.load_ms[0] else None
        rows = []
        for index, one in enumerate(self.variants):
            row: dict[str, Any] = {"device": self.host, "variant": one, "runtime": "onnxruntime", "note": self.note}
            row |= {"threads": self.threads} | _ends("latency_ms", latency[one]) | _ends("speedup", speedup[one])
            row |= {"load_ms": None if loads is None else float(loads[index])}
            rows.append(row | _answered(self.answers.get(one)))
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def sentences(self, names: Mapping[str, str]) -> list[str]:
        """One for each variant that is surely slower than the original there."""
        slower = [(names.get(one, one), figure) for one, figure in self.speedup.items() if figure.high < 1]
        return [
            f"On {self.host} {name} is slower than the original: {figure.value:.2f}× ({figure.low:.2f} to "
            f"{figure.high:.2f})."
            for name, figure in slower
        ]

    def keep(self, study: Path) -> Path:
        """Write it into a study's folder. Raises: `StorageFailed`."""
        named = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{self.created}-{self.host}")
        path = study / FOLDER / f"{named}.json"
        with told(study, "Keeping what was measured elsewhere"):
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_text(json.dumps(asdict(self)), encoding="utf-8")
            part.replace(path)
        return path


def kept(study: Path) -> list[Probe]:
    """What was measured elsewhere, the oldest first; what cannot be read is left out with a warning."""
    found = []
    for path in sorted((study / FOLDER).glob("*.json")):
        try:
            found.append(_read(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            warnings.warn(f"{path} cannot be read and is left out ({type(error).__name__}).", stacklevel=2)
    return sorted(found, key=lambda one: one.created)


def _read(said: dict[str, Any]) -> Probe:
    rounds = Rounds(**{name: _tuples(one) for name, one in said.pop("rounds").items()})
    answers = {str(key): Answers(**one) for key, one in said.pop("answers").items()}
    return Probe(**said | {"rounds": rounds, "answers": answers, "variants": tuple(said["variants"])})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _ends(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _answered(answers: Answers | None) -> dict[str, Any]:
    if answers is None:
        return {}
    row: dict[str, Any] = {"largest_logit_difference": answers.largest}
    if answers.differing is not None:
        row |= _ends("disagreement", wilson(answers.differing, answers.n))
    return row | (_ends("accuracy", wilson(answers.right, answers.n)) if answers.right is not None else {})
