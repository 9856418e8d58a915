"""LiteRT, once TensorFlow Lite, with its XNNPACK kernels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from workbench.runtimes.base import Array, Runtime, register


@dataclass(frozen=True)
class LiteRtSession:
    """A loaded flatbuffer, made for a batch of one: images run one after the other."""

    interpreter: Any
    shape: tuple[int, ...]
    whole: ClassVar[bool] = False

    def run(self, inputs: Array) -> Array:
        """Logits (N, ...) of float32 inputs (N, ...)."""
        entry = self.interpreter.get_input_details()[0]["index"]
        leave = self.interpreter.get_output_details()[0]["index"]
        found = []
        for image in np.ascontiguousarray(inputs, np.float32):
            self.interpreter.set_tensor(entry, image[None])
            self.interpreter.invoke()
            found.append(self.interpreter.get_tensor(leave)[0])
        return np.stack(found)


@dataclass(frozen=True)
class LiteRt(Runtime):
    """LiteRT on the CPU, from the variant's torch network."""

    source: ClassVar[str] = ".pt2"
    packages: ClassVar[tuple[str, ...]] = ("ai_edge_litert", "litert_torch")
    extra: ClassVar[str] = "litert"

    name: str = "litert"
    title: str = "LiteRT"

    def _convert(self, source: Path, folder: Path) -> Path:
        import litert_torch
        import torch

        program = torch.export.load(source)
        (example,) = program.example_inputs[0]
        target = folder / "litert.tflite"
        litert_torch.convert(program.module(), (example[:1],)).export(str(target))
        return target

    def _load(self, path: Path, threads: int) -> LiteRtSession:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        interpreter.allocate_tensors()
        sizes = interpreter.get_input_details()[0]["shape"]
        return LiteRtSession(interpreter, tuple(int(size) for size in sizes[1:]))


register(LiteRt())
