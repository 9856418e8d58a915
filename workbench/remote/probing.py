"""Variants timed on another machine in turns with the original, and their answers there against those here."""

from __future__ import annotations

import base64
import errno
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.building.build import asked
from workbench.data.batches import arrays
from workbench.errors import BadValue, MeasurementFailed
from workbench.jobs import Reporter
from workbench.measure.accuracy import in_batches
from workbench.modules.calling import flatten
from workbench.remote.probe import Answers, Probe, Rounds
from workbench.remote.ssh import Host, Lost, conversation
from workbench.runtimes import runtime
from workbench.variant import Variant

Array = npt.NDArray[Any]
#: Inputs that are answered there, at most, and bytes of them.
IMAGES, BYTES = 200, 32 << 20
SESSIONS = 3
SCRIPT = Path(__file__).with_name("script.py")


@dataclass(frozen=True)
class Ask:
    """How long to time all variants together, on how many threads there, and on how many test inputs to compare."""

    seconds: float = 6.0
    threads: int = 1
    images: int = IMAGES

    def __post_init__(self) -> None:
        if not 0 < self.seconds < float("inf") or self.threads < 1 or self.images < 1:
            raise BadValue(
                f"seconds={self.seconds}, threads={self.threads}, images={self.images}: all must be above 0."
            )


@dataclass
class Heard:
    """What has come so far: it is kept when the connection is lost."""

    here: dict[str, Any] = field(default_factory=dict)
    load_ms: dict[int, list[float]] = field(default_factory=dict)
    times: dict[int, list[list[float]]] = field(default_factory=dict)
    pulses: dict[int, list[list[float]]] = field(default_factory=dict)
    outputs: dict[int, Array] = field(default_factory=dict)
    done: bool = False

    def take(self, message: dict[str, Any]) -> None:
        """One line."""
        self.here = message.get("here", self.here)
        self.done = self.done or bool(message.get("done"))
        if "answers" in message:
            content = io.BytesIO(base64.b64decode(message["array"], validate=True))
            self.outputs[int(message["answers"])] = np.load(content, allow_pickle=False)
        if "load_ms" in message:
            self.load_ms[int(message["session"])] = [float(one) for one in message["load_ms"]]
        if "times" in message:
            for kept, name in ((self.times, "times"), (self.pulses, "pulses")):
                kept.setdefault(int(message["session"]), []).append([float(one) for one in message[name]])

    def share(self, ask: Ask) -> float:
        """How far it has come."""
        rounds = sum(map(len, self.times.values()))
        return 0.1 + 0.1 * bool(self.outputs) + 0.8 * (1 - 0.98**rounds)


def probe(variants: Sequence[Variant], host: Host, ask: Ask, report: Reporter) -> Probe:
    """Measure variants, the original first, on a host.

    Raises: `MeasurementFailed` where nothing could be measured, `Cancelled`. What came before a connection was lost
    is kept, where it is a round of every session that was begun; the result's `note` says so.
    """
    given = _inputs(variants[0], ask.images)
    packed = io.BytesIO()
    np.savez(packed, *given)
    files = [one.onnx for one in variants]
    sizes = [*(file.stat().st_size for file in files), len(packed.getvalue())]
    asked_for = {"sizes": sizes, "seconds": ask.seconds, "threads": ask.threads, "sessions": SESSIONS}
    content: list[bytes | Path] = [json.dumps(asked_for).encode() + b"\n", *files, packed.getvalue()]
    heard, note = Heard(), ""
    report(0.0, f"connecting to {host.name}")
    try:
        for message in _messages(host, content, report):
            heard.take(message)
            report(heard.share(ask), f"measuring on {host.name}")
    except Lost as error:
        if not any(len(one) > 1 for one in heard.times.values()):
            raise
        note = f"{error} What was measured before is kept."
    if not heard.done and not note:
        raise MeasurementFailed(f"{host.name} ended without a result. Try again.")
    return Probe(
        host.name,
        datetime.now(UTC).isoformat(timespec="seconds"),
        heard.here,
        tuple(one.id for one in variants),
        ask.threads,
        _rounds(heard, len(variants)),
        {one.id: _answers(one, heard.outputs[k], ask) for k, one in enumerate(variants) if k in heard.outputs},
        note,
    )


def _rounds(heard: Heard, count: int) -> Rounds:
    times = [[row for row in heard.times[one] if len(row) == count] for one in sorted(heard.times)]
    pulses = [heard.pulses[one] for one in sorted(heard.times)]
    if not np.isfinite(np.concatenate(times)).all() or not (np.concatenate(times) > 0).all():
        raise MeasurementFailed("The times that came back are none: they are not above zero. Try again.")
    return Rounds.of(times, pulses, [heard.load_ms.get(one, []) for one in sorted(heard.times)])


def _messages(host: Host, content: list[bytes | Path], report: Reporter) -> Iterator[dict[str, Any]]:
    """The script's lines. Raises: `MeasurementFailed` for what it lacks, or what stopped it."""
    for line in conversation(host, SCRIPT.read_bytes(), content, report):
        try:
            message = json.loads(line)
        except ValueError:
            continue  # a greeting of the login shell's
        if not isinstance(message, dict):
            continue
        if message.get("here", {}).get("missing"):
            raise MeasurementFailed(_missing(host, message["here"]))
        if "error" in message:
            raise MeasurementFailed(_stopped(host, message))
        yield message
        if message.get("done"):
            return


def _missing(host: Host, here: dict[str, Any]) -> str:
    names = [name for name, _ in here["missing"]]
    why = "; ".join(f"{name}: {said}" for name, said in here["missing"])
    return (
        f"{host.name} has Python {here['python']} ({here['executable']}) without {' and '.join(names)} ({why}). Get it "
        f"with: ssh {host.name} {host.python} -m pip install {' '.join(names)}; or name another Python (python=...)."
    )


def _stopped(host: Host, message: dict[str, Any]) -> str:
    if message.get("number") in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return f"The disk of {host.name} is full: the files do not fit into its temporary folder. Make room there."
    return f"Measuring on {host.name} stopped: {message['error']}"


def _inputs(variant: Variant, images: int) -> list[Array]:
    """The first test inputs, as the file takes them."""
    test = variant.data["test"]
    size = sum(one.numpy().nbytes for one in flatten(test.example))
    chosen = test.first(max(1, min(images, BYTES // max(size, 1), len(test))))
    inputs, _ = chosen.read(range(len(chosen)))
    return runtime().load(variant.onnx).given(arrays(inputs))


def _answers(variant: Variant, found: Array, ask: Ask) -> Answers:
    """Outputs there against those of the same file here, on the same inputs."""
    test = variant.data["test"].first(len(found))
    right = in_batches(runtime().load(variant.onnx).run, test, Reporter())
    if right.shape != found.shape:
        raise MeasurementFailed(f"{variant.name} returns shape {found.shape} there, and {right.shape} here.")
    task = asked(variant.model, variant.data)
    apart = float(np.abs(found.astype(np.float64) - right).max(initial=0.0))
    if task.answers is None:
        return Answers(len(found), None, apart)
    answers, before = task.answers(found), task.answers(right)
    labelled = task.name == "classification" and test.labelled
    hits = int((answers == np.asarray(test.labels)).sum()) if labelled else None
    return Answers(int(answers.size), int((answers != before).sum()), apart, hits)
