"""How large a network's tensors are, from its weights alone: what a plan can know without an image."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from workbench.cost.layer import WITH_WEIGHTS

if TYPE_CHECKING:
    from workbench.cost.layer import Layer
    from workbench.cost.network import Network
    from workbench.cost.weights import Weights

#: What an activation leaves of the energy of numbers spread evenly around zero.
HALF, GATE = 0.5, 0.25
_GATES = frozenset({"sigmoid", "hardsigmoid"})


def energies(network: Network, weights: Weights) -> dict[int, float]:
    """The mean square of each tensor, by its id, for inputs of mean square 1 whose elements are unrelated.

    A layer of weights W multiplies it by ||W||^2 over its outputs (He et al. 2015, eq. 10), a normalisation sets it
    to the mean square of its scale, an activation halves it, a sum adds, a product multiplies. Layers whose weights
    are not those of the original leave it as it is.
    """
    found: dict[int, float] = {}
    for layer in network.layers:
        given = [found.get(tensor, 1.0) for tensor in layer.reads] or [1.0]
        found[layer.writes] = min(_energy(layer, given, weights), 1e30)
    return found


def _energy(layer: Layer, given: list[float], weights: Weights) -> float:
    if layer.kind == "norm":
        return _scale(layer, weights)
    if layer.kind in WITH_WEIGHTS:
        return given[0] * _gain(layer, weights)
    if layer.kind == "activation":
        return given[0] * (GATE if layer.op.rstrip("_") in _GATES else HALF)
    if layer.kind == "add" and len(given) > 1:
        return prod(given) if layer.op.rstrip("_") == "mul" else sum(given)
    return max(given)


def _gain(layer: Layer, weights: Weights) -> float:
    """||W||^2 over the outputs; 1 where the weight is not the original's."""
    square, elements = _square(layer, weights)
    places = prod(layer.stride) if layer.kind == "conv_transpose" else 1
    return square / layer.c_out / places if elements else 1.0


def _scale(layer: Layer, weights: Weights) -> float:
    square, elements = _square(layer, weights)
    return square / elements if elements else 1.0


def _square(layer: Layer, weights: Weights) -> tuple[float, int]:
    """The sum of squares and the size of the original's weight, also where an earlier step will change it: the work
    decides by the same. Zeros where there is none of that name.
    """
    key = (layer.module, "energy")
    if key not in weights.cache:
        try:
            weight = weights.module.get_parameter(f"{layer.module}.weight").detach()
            weights.cache[key] = (float(weight.double().square().sum()), weight.numel())
        except AttributeError:
            weights.cache[key] = (0.0, 0)
    found: tuple[float, int] = weights.cache[key]
    return found
