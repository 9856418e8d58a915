"""Artefacts with float16 weights."""

from __future__ import annotations

import warnings
from collections.abc import Container

import onnx

from workbench.quantization.edges import float_nodes_of_shapes


def to_float16(model: onnx.ModelProto, exclude: Container[str] = ()) -> onnx.ModelProto:
    """A copy that stores and computes in float16; inputs, outputs and nodes of `exclude` stay float32.

    So do sizes that are computed in float: beyond 2,048 float16 has no odd numbers.

    Values beyond float16's range become its largest ones (65504), subnormal ones its least (6e-8).
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = float_nodes_of_shapes(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one warning a weight that is clipped
        converted: onnx.ModelProto = convert_float_to_float16(
            copy,
            keep_io_types=True,
            node_block_list=[node.name for node in model.graph.node if node.name in exclude or node.name in kept],
        )
    return converted
