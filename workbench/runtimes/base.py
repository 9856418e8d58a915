"""What runs an artefact."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

Array = npt.NDArray[Any]


class Session(Protocol):
    """A loaded artefact."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input, without the batch."""
        ...

    def run(self, inputs: Array) -> Array:
        """Logits (N, ...) of float32 inputs (N, ...)."""
        ...


class Runtime(Protocol):
    """Something that runs an artefact, such as ONNX Runtime."""

    @property
    def name(self) -> str:
        """The name that users select it by."""
        ...

    def available(self) -> bool:
        """True when the runtime is installed."""
        ...

    def load(self, path: Path, threads: int = 1) -> Session:
        """Make an artefact ready to run. Raises `BadFile` when the runtime refuses it."""
        ...
