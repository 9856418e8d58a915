"""torch itself: the exported network run by eager kernels, or compiled by `torch.compile`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from workbench.runtimes.base import Array, Entry, Runtime, Session, register


@dataclass(frozen=True)
class TorchSession(Session):
    """A network in evaluation mode."""

    module: Callable[..., Any]
    example: Any  # one input, as a network is called: a tensor (1, ...), a tuple or a mapping of them
    threads: int

    @property
    def entries(self) -> tuple[Entry, ...]:  # type: ignore[override]  # from the example, where others store it
        """As the example has them."""
        from workbench.modules.calling import arguments

        args, kwargs = arguments(self.example)
        named = [*((f"input_{index + 1}", one) for index, one in enumerate(args)), *kwargs.items()]
        return tuple(Entry(name, tuple(one.shape[1:]), one.numpy().dtype) for name, one in named)

    def outputs(self, inputs: Any) -> list[Array]:
        """As `Session.outputs`."""
        import torch

        from workbench.modules.calling import flatten

        with torch.inference_mode(), _threads(self.threads):
            # Copies: the network may write into what it is given.
            given = [torch.from_numpy(one.copy()) for one in self.given(inputs)]
            named = isinstance(self.example, Mapping)
            found = self.module(**dict(zip(self.example, given, strict=True))) if named else self.module(*given)
            return [one.numpy() for one in flatten(found)]


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
        args, kwargs = program.example_inputs
        example = kwargs if kwargs else args if len(args) > 1 else args[0]
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
