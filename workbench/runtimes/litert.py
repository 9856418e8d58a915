"""LiteRT, once TensorFlow Lite, with its XNNPACK kernels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from workbench.runtimes.base import Array, Entry, Runtime, Session, register


@dataclass(frozen=True)
class LiteRtSession(Session):
    """A loaded flatbuffer, made for a batch of one: images run one after the other."""

    interpreter: Any
    entries: tuple[Entry, ...]

    def outputs(self, inputs: Any) -> list[Array]:
        """As `Session.outputs`."""
        entries, leaves = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        found = []
        for images in zip(*self.given(inputs), strict=True):
            for entry, image in zip(entries, images, strict=True):
                self.interpreter.set_tensor(entry["index"], image[None])
            self.interpreter.invoke()
            found.append([self.interpreter.get_tensor(leave["index"])[0] for leave in leaves])
        return [np.stack(one) for one in zip(*found, strict=True)]


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
        args, kwargs = program.example_inputs
        first = [{name: one[:1] for name, one in kwargs.items()}, tuple(one[:1] for one in args)]
        target = folder / "litert.tflite"
        litert_torch.convert(program.module(), first[1], sample_kwargs=first[0] or None).export(str(target))
        return target

    def _load(self, path: Path, threads: int) -> LiteRtSession:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        interpreter.allocate_tensors()
        entries = (
            Entry(one["name"], tuple(int(size) for size in one["shape"][1:]), np.dtype(one["dtype"]))
            for one in interpreter.get_input_details()
        )
        return LiteRtSession(interpreter, tuple(entries))


register(LiteRt())
