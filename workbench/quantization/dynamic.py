"""Integer weights, with activations quantized while the network runs."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Container
from pathlib import Path

import onnx

from workbench.artefact.onnx_graph import separate
from workbench.quantization.edges import data_tensors

#: Convolutions have a dynamic kernel too (ConvInteger); it is two to five times slower than float.
OPERATORS = ("MatMul", "Gemm")


def quantize_dynamically(
    model: onnx.ModelProto, *, per_channel: bool = True, exclude: Container[str] = ()
) -> onnx.ModelProto:
    """A copy whose linear layers hold 8-bit weights and take 8-bit activations, scaled input by input."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    copy = separate(model)  # the quantizer transposes weights in place, once for each layer that reads them
    data = set(data_tensors(model))
    del copy.graph.value_info[:]  # the quantizer trips over shapes that an exporter left there
    advice = logging.getLogger()  # to pre-process the graph, which `tidy` has done
    level = advice.level
    advice.setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dynamic.onnx"
        quantize_dynamic(
            copy,
            path,
            op_types_to_quantize=list(OPERATORS),
            per_channel=per_channel,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[n.name for n in model.graph.node if n.name in exclude or n.input[0] not in data],
        )
        advice.setLevel(level)
        return onnx.load(str(path))
