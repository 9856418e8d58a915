"""torch itself: the exported network run by eager kernels, or compiled by `torch.compile`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from workbench.runtimes.base import Array, Runtime, register


@dataclass(frozen=True)
class TorchSession:
    """A network in evaluation mode."""

    module: Callable[[Any], Any]
    example: Any  # one input, a tensor (1, ...)
    threads: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input, without the batch."""
        return tuple(self.example.shape[1:])

    @property
    def whole(self) -> bool:
        """Whether inputs are whole numbers."""
        return not self.example.is_floating_point()

    def run(self, inputs: Array) -> Array:
        """Logits (N, ...) of inputs (N, ...)."""
        import torch

        with torch.inference_mode(), _threads(self.threads):
            # A copy: the network may write into what it is given.
            given = torch.from_numpy(np.array(inputs, order="C")).to(self.example.dtype)
            values: Array = self.module(given).numpy()
        return values


@dataclass(frozen=True)
class Torch(Runtime):
    """The variant's torch network, by torch's eager kernels."""

    source: ClassVar[str] = ".pt2"
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    name: str = "torch"
    title: str = "torch"
    compiled: bool = False

    def _load(self, path: Path, threads: int) -> TorchSession:
        import torch

        program = torch.export.load(path)
        (example,) = program.example_inputs[0]
        module: Any = program.module()
        if self.compiled:
            # Its own pool of compiling processes would outlive a measurement that is cancelled.
            module = torch.compile(module, options={"compile_threads": 1})
        return TorchSession(module, example, threads)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """The number of threads of torch is one for the whole process: put it back."""
    import torch

    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


register(Torch())
register(Torch("torch-compile", "torch.compile", compiled=True))
