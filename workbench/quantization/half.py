"""Artefacts with float16 weights."""

from __future__ import annotations

import warnings

import onnx


def to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that stores and computes in float16; inputs and outputs stay float32.

    Values beyond float16's range become its largest ones (65504), subnormal ones its least (6e-8).
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one warning a weight that is clipped
        converted: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True)
    return converted
