"""Files that are quantized already: grids on activations are left out, weights become numbers again."""

from __future__ import annotations

import onnx

from workbench.artefact.onnx_graph import Graph

_PAIR = ("QuantizeLinear", "DequantizeLinear")


def without_grids(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """The file without the pairs that round activations, and a note where there were any.

    Weights that are stored as whole numbers stay so: what makes numbers of them is constant.
    """
    graph = Graph(model)
    writers = graph.writers()
    gone = []
    for node in list(graph.nodes):
        first = writers.get(node.input[0]) if node.op_type == _PAIR[1] else None
        if first is not None and first.op_type == _PAIR[0]:
            source = first.input[0]
            returned = node.output[0] in graph.outputs()
            if returned:
                node.op_type, node.domain = "Identity", ""
                del node.input[:], node.attribute[:]
                node.input.append(source)
            else:
                graph.redirect(node.output[0], source)
                gone.append(node)
    graph.drop(gone)
    read = graph.reads()
    graph.drop([one for one in graph.nodes if one.op_type == _PAIR[0] and not read[one.output[0]]])
    stored = any(one.op_type == _PAIR[1] for one in graph.nodes)
    if not gone and not stored:
        return model, []
    return model, [
        f"The file is quantized: its weights are read as floating-point numbers, and {len(gone)} places where it "
        "rounds activations are left out, so that steps begin from a float network. Quantize('int8') rounds anew."
    ]
