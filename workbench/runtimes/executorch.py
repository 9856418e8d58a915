"""ExecuTorch with its XNNPACK kernels, PyTorch's runtime for phones and small boards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from workbench.errors import BadValue
from workbench.runtimes.base import Array, Entry, Runtime, Session, register


@dataclass(frozen=True)
class ExecuTorchSession(Session):
    """A loaded program, which takes at most `most` inputs at a time. It must live as long as its method."""

    program: Any
    method: Any
    entries: tuple[Entry, ...]
    most: int

    def outputs(self, inputs: Any) -> list[Array]:
        """As `Session.outputs`."""
        import torch

        parts = zip(*(torch.from_numpy(one.copy()).split(self.most) for one in self.given(inputs)), strict=True)
        # A result's memory is used again by the next run.
        found = [[one.numpy().copy() for one in self.method.execute(list(part))] for part in parts]
        return [np.concatenate(one) for one in zip(*found, strict=True)]


@dataclass(frozen=True)
class ExecuTorch(Runtime):
    """ExecuTorch on the CPU, from the variant's torch network."""

    source: ClassVar[str] = ".pt2"
    packages: ClassVar[tuple[str, ...]] = ("executorch",)
    extra: ClassVar[str] = "executorch"

    name: str = "executorch"
    title: str = "ExecuTorch"

    def _convert(self, source: Path, folder: Path) -> Path:
        import torch
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        program = torch.export.load(source)
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
        target = folder / "executorch.pte"
        target.write_bytes(lowered.buffer)
        return target

    def _load(self, path: Path, threads: int) -> ExecuTorchSession:
        from executorch.extension.pybindings.portable_lib import _threadpool_get_thread_count as running
        from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool as restart
        from executorch.runtime import Runtime as Loader

        if running() != threads:
            restart(threads)
        if running() != threads:
            raise BadValue(f"ExecuTorch runs on {running()} threads here and cannot be set to {threads}.")
        program = Loader.get().load_program(path)
        method = program.load_method("forward")
        metas = [method.metadata.input_tensor_meta(index).sizes() for index in range(method.metadata.num_inputs())]
        entries = tuple(Entry(f"input_{index + 1}", tuple(sizes[1:])) for index, sizes in enumerate(metas))
        return ExecuTorchSession(program, method, entries, metas[0][0])  # its memory was planned for this batch


register(ExecuTorch())
