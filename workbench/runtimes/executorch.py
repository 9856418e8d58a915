"""ExecuTorch with its XNNPACK kernels, PyTorch's runtime for phones and small boards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from workbench.errors import BadValue
from workbench.runtimes.base import Array, Runtime, register


@dataclass(frozen=True)
class ExecuTorchSession:
    """A loaded program, which takes at most `most` inputs at a time. It must live as long as its method."""

    program: Any
    method: Any
    shape: tuple[int, ...]
    whole: ClassVar[bool] = False
    most: int

    def run(self, inputs: Array) -> Array:
        """Logits (N, ...) of float32 inputs (N, ...)."""
        import torch

        batch = torch.from_numpy(np.array(inputs, np.float32, order="C"))
        # A result's memory is used again by the next run.
        parts = [self.method.execute([part])[0].numpy().copy() for part in batch.split(self.most)]
        return np.concatenate(parts)


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
        most, *shape = method.metadata.input_tensor_meta(0).sizes()  # its memory was planned for these
        return ExecuTorchSession(program, method, tuple(shape), most)


register(ExecuTorch())
