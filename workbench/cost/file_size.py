"""How large the ONNX file of a network will be, from its shapes alone."""

from __future__ import annotations

from workbench.cost.layer import IN_PLACE, Layer
from workbench.cost.network import Network

#: Bytes of names, attributes and shapes around the weights of one operator in the files that we write, and of the
#: conversions around it that weights in fewer bits need. Fitted to the files of the published studies.
OPERATOR = 450
CONVERSIONS = {8: 850, 4: 250}
#: Bytes beside the integer weights of each output channel: scale and zero point of the weight, the bias in 32
#: bits with a scale and a zero point of its own.
CHANNEL = {8: 17, 4: 4}
BIAS = 4


def file_bytes(network: Network) -> float:
    """Bytes of the file that a network will be exported to; norms are folded into what they follow.

    An estimate for what the steps here make: within a few per cent where weights rule the size, and some kB
    where a network is so small that the names in the file do.
    """
    return network.remembered(_file_bytes, _file_bytes)


def _file_bytes(network: Network) -> float:
    return network.total(_bytes) + network.added(_norms)  # layers without a bias get one


def weight_bytes(layer: Layer) -> float:
    """Bytes of the weights of one layer alone; none where they were counted with an earlier operation."""
    if not layer.weight_elements or layer.shared:
        return 0.0
    biases = layer.c_out if layer.bias else 0
    return (layer.params - biases) * (layer.stored_bits or layer.bits) / 8


def _bytes(layer: Layer) -> float:
    if layer.kind == "reshape" or (layer.fused and layer.kind in IN_PLACE):
        return 0.0
    size = float(OPERATOR)
    if not layer.weight_elements or layer.shared:
        return size + CONVERSIONS.get(layer.bits, 0)
    bits = layer.stored_bits or layer.bits
    biases = layer.c_out if layer.bias else 0
    size += weight_bytes(layer) + biases * BIAS
    return size + CHANNEL.get(bits, 0) * layer.c_out + CONVERSIONS.get(bits, 0)


def _norms(network: Network) -> dict[int, int]:
    """Bytes of the biases that whatever writes a tensor gets from the norm folded into it; no chain has a norm."""
    found: dict[int, int] = {}
    for layer, _, _, reads, _, _ in network.flow:
        if layer.fused and layer.kind == "norm":
            found[reads[0]] = found.get(reads[0], 0) + BIAS * layer.output[0]
    return found
