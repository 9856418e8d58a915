"""`Whole`: an ONNX file as one layer that ONNX Runtime runs, for networks that no torch operators make up.

Such a network is costed, measured, quantized and exported as the file that it is. What would rewrite or train it is
refused with the operator that stands in the way.
"""

from __future__ import annotations

import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from workbench.artefact.onnx_graph import attribute
from workbench.untrusted.onnx_files import read_onnx

#: Operators that compute in integers: a file that has them is quantized already.
INTEGERS = frozenset(
    "QLinearConv QLinearMatMul QGemm ConvInteger MatMulInteger DynamicQuantizeLinear DynamicQuantizeMatMul "
    "DynamicQuantizeLSTM MatMulIntegerToFloat QLinearAdd QLinearMul QLinearSigmoid QuantizeLinear".split()
)


class Whole(nn.Module):
    """A file whose inputs carry the batch in front, in the order of its inputs.

    Args:
        size: bytes of the file, which is the buffer `content`.
        why: what stands in the way of torch, a sentence.
    """

    def __init__(self, size: int, why: str) -> None:
        super().__init__()
        self.size, self.why = size, why
        self.content: torch.Tensor
        self.register_buffer("content", torch.empty(size, dtype=torch.uint8))

    @classmethod
    def of(cls, model: onnx.ModelProto, why: str) -> Whole:
        """The layer of a graph, its weights included."""
        data = model.SerializeToString()
        made = cls(len(data), why)
        made.content = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        return made

    def forward(self, *inputs: torch.Tensor) -> Any:
        """The file's output, or a tuple of its outputs; no gradient goes through them."""
        from workbench.runtimes.onnxruntime import feeds

        found = self._session.run(None, feeds(self._session, [one.detach().cpu().numpy() for one in inputs]))
        tensors = tuple(_tensor(one) for one in found)
        return tensors[0] if len(tensors) == 1 else tensors

    @cached_property
    def model(self) -> onnx.ModelProto:
        """The graph. Raises: `BadFile` where it is none: the bytes may be a stranger's."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            path.write_bytes(self.content.numpy().tobytes())
            model: onnx.ModelProto = read_onnx(path)
            return model

    @property
    def quantized(self) -> bool:
        """Whether it computes in integers."""
        return any(node.op_type in INTEGERS for node in self.model.graph.node)

    @cached_property
    def _session(self) -> Any:
        from workbench.runtimes.onnxruntime import open_session

        return open_session(self.model.SerializeToString())

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in {"_session", "model"}}


def whole_of(module: nn.Module) -> Whole | None:
    """The file that a network is as a whole; None for networks of torch."""
    return next((one for one in module.children() if isinstance(one, Whole)), None)


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph, in place, with a name for every operation."""
    taken = {node.name for node in model.graph.node}
    for index, node in enumerate(model.graph.node):
        if not node.name:
            name = f"{node.op_type.lower()}_{index}"
            node.name = name if name not in taken else f"{name}_of_{node.output[0]}"
    return model


def weights_of(model: onnx.ModelProto) -> set[str]:
    """The tensors that follow from the file alone: its initializers, constants, and what is computed from these."""
    known = {one.name for one in model.graph.initializer}
    for node in model.graph.node:
        given = [name for name in node.input if name]
        fixed = node.op_type == "Constant" or (bool(given) and all(name in known for name in given))
        if fixed and not any(one.HasField("g") for one in node.attribute):
            known.update(node.output)
    return known


def number(node: onnx.NodeProto, name: str, default: int) -> int:
    """An attribute that is a whole number."""
    return int(attribute(node, name, default))


def _tensor(value: Any) -> torch.Tensor:
    array = np.asarray(value)
    return torch.from_numpy(array.astype(np.float32) if array.dtype.kind == "f" else array)
