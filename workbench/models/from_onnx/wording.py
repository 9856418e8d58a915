"""What is said of operations that cannot be converted."""

from __future__ import annotations

import onnx

from workbench.models.from_onnx.rules import DATA_SIZED, INTEGER_LAYERS


def unknown(node: onnx.NodeProto, name: str) -> str:
    """Why an operation has no rule here, and what to do."""
    if node.op_type in INTEGER_LAYERS:
        return (
            f"{name} computes in integers: the file is quantized already. Load the float network that it was made "
            "from; Quantize('int8') is the step for that."
        )
    if node.op_type in DATA_SIZED:
        return (
            f"{name} gives a result whose size, or runs as often as, the values say, so that the network has no cost "
            "of its own and no plan. Cut the file before it (onnx.utils.extract_model) and load the first part."
        )
    domain = f" of {node.domain}" if node.domain else ""
    return (
        f"{name} is an operator{domain} that is not known here. Load the network in torch: "
        "wb.load(module, example=...)."
    )
