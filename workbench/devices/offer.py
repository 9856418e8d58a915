"""What devices are given: the artefacts of the original and of chosen variants, and test inputs to answer."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.data import Split
from workbench.data.batches import arrays, batches, some
from workbench.devices.answered import Answers
from workbench.devices.refusal import Refused
from workbench.jobs import Reporter
from workbench.measure.accuracy import in_batches
from workbench.measure.latency import usual_seconds
from workbench.runtimes import Session, runtime
from workbench.tasks import Task
from workbench.variant import Variant

Array = npt.NDArray[Any]

#: Test inputs that a device answers at most, and the bytes of them, and of a network's outputs.
IMAGES, BYTES = 200, 16 << 20
#: Bytes of outputs that come in one piece.
PIECE = 1 << 20
#: Sessions of one row at most.
SESSIONS = 16
#: Seconds for which a device that is asked to keeps on, to see what heat does.
KEEP_S = 300.0


@dataclass(frozen=True)
class Offer:
    """The variants to be measured, the original first; `inputs` are of the test split. Safe to use from threads."""

    variants: tuple[Variant, ...]
    inputs: Split
    task: Task
    _expected: dict[int, Array] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def digest(self) -> str:
        """What tells these artefacts from all others: a device names it with whatever it sends."""
        names = [one.artefact.name for one in self.variants]
        return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]

    @cached_property
    def macs(self) -> list[float]:
        """Multiply-accumulates of each."""
        return [one["macs"].value if "macs" in one.estimates else 0.0 for one in self.variants]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The variants' ids."""
        return tuple(one.id for one in self.variants)

    @cached_property
    def session(self) -> Session:
        """The original's artefact, as it runs here."""
        return runtime().load(self.variants[0].onnx)

    @cached_property
    def width(self) -> int:
        """How many numbers a network gives for one input."""
        return int(self.session.run(arrays(self.inputs.example)).size)

    @cached_property
    def output(self) -> int:
        """The place of the output that stands for all."""
        found = self.session.outputs(arrays(self.inputs.example))
        return next((k for k, one in enumerate(found) if np.issubdtype(one.dtype, np.floating)), 0)

    @cached_property
    def count(self) -> int:
        """How many inputs are answered."""
        size = sum(one.nbytes for one in self.session.given(arrays(self.inputs.example)))
        return max(1, min(IMAGES, len(self.inputs), BYTES // max(size, 1), BYTES // max(4 * self.width, 1)))

    def described(self) -> dict[str, Any]:
        """What the page is told: plain values."""
        return {
            "offer": self.digest,
            "model": self.variants[0].model.name,
            "networks": [
                {"name": one.name, "bytes": one.onnx.stat().st_size} for one in self.variants
            ],
            "inputs": [
                {"name": one.name, "kind": np.dtype(one.kind).name, "shape": list(one.shape)}
                for one in self.session.entries
            ],
            "output": self.output,
            "count": self.count,
            "width": self.width,
            "session_ms": min(1e4, 2e3 / 3 * usual_seconds()),
            "limit_ms": 1e4 * usual_seconds(),
            "sessions": SESSIONS,
            "keep_ms": 1e3 * KEEP_S,
            "piece": max(1, min(25, PIECE // (4 * self.width))),
        }  # fmt: skip

    def artefact(self, index: int) -> bytes:
        """The file of a variant. Raises: `Refused` where there is none of this number."""
        if index >= len(self.variants):
            raise Refused("There is no such network here.", 404)
        return self.variants[index].onnx.read_bytes()

    def input(self, index: int) -> bytes:
        """All numbers of an input of the network (count, ...), least significant byte first. Raises: `Refused`."""
        entries = self.session.entries
        if index >= len(entries):
            raise Refused("There is no such input here.", 404)
        first = self.inputs.first(self.count)
        values = np.concatenate([self.session.given(arrays(one))[index] for one in batches(first, some(first))])
        return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()

    def compare(self, index: int, values: Array) -> Answers:
        """Outputs (n, width) of a device for the first n inputs, against those of the same artefact here."""
        expected = self._outputs(index)[: len(values)]
        found = values.reshape(expected.shape)
        largest = float(np.abs(found - expected).max())
        if self.task.answers is None:
            return Answers(len(values), None, largest)
        differs = self.task.answers(found) != self.task.answers(expected)
        return Answers(differs.size, int(differs.sum()), largest)

    def _outputs(self, index: int) -> Array:
        with self._lock:
            if index not in self._expected:
                session = runtime().load(self.variants[index].onnx)
                self._expected[index] = in_batches(session.run, self.inputs.first(self.count), Reporter())
            return self._expected[index]


def offered(original: Variant, variants: Sequence[Variant], task: Task) -> Offer:
    """The original and these variants, each once."""
    chosen = {one.id: one for one in (original, *variants)}
    return Offer(tuple(chosen.values()), original.data["test"], task)
