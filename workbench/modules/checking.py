"""Compare what two forms of a network compute on the same inputs: every output, wherever it is nested."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.errors import StepFailed

Array = npt.NDArray[Any]
#: Inputs -> outputs: an array, a tensor, or tuples, lists and mappings of these.
Network = Callable[[Any], Any]

#: Two float32 computations of the same thing differ by no more than this, relative to the largest output.
TOLERANCE = 1e-4
#: A change of an input that float32 does not tell from none; how much more than by that outputs may differ; at most.
ROUNDING, MOVED, MOST = 1e-7, 10, 0.02


@dataclass(frozen=True)
class Difference:
    """How far outputs are from those expected; infinite where their number, shapes or finiteness differ.

    `relative`: the largest difference, over the largest value (at least 1). `of_spread`: the root mean square
    difference, over that of the outputs around their mean over the inputs; the worst output counts.
    """

    relative: float
    of_spread: float


def flatten(outputs: Any) -> list[Array]:
    """The arrays of nested outputs, in order; a mapping's by its order."""
    if isinstance(outputs, Mapping):
        return [array for one in outputs.values() for array in flatten(one)]
    if isinstance(outputs, list | tuple):
        return [array for one in outputs for array in flatten(one)]
    if outputs is None:
        return []
    tensor = outputs.detach().cpu() if hasattr(outputs, "detach") else outputs
    return [np.asarray(tensor)]


def difference(expected: Any, found: Any) -> Difference:
    """Compare outputs (N, ...), nested or not, with those expected."""
    pairs = list(zip(flatten(expected), flatten(found), strict=False))
    alike = len(flatten(expected)) == len(flatten(found)) and all(one.shape == two.shape for one, two in pairs)
    if not alike:
        return Difference(np.inf, np.inf)
    each = [_of_one(one.astype(np.float64), two.astype(np.float64)) for one, two in pairs if one.size]
    return Difference(max((d.relative for d in each), default=0.0), max((d.of_spread for d in each), default=0.0))


def unsettled(network: Network, inputs: Any) -> float:
    """How far (relative) two computations of a network may be apart whose own outputs move with a rounding error.

    Depth and recurrence can blow up what is rounded in each operation, which moves outputs about as far as a change of
    the inputs by as much; a network that does not do so is held to `TOLERANCE`.
    """
    return min(MOVED * difference(network(inputs), network(jittered(inputs))).relative, MOST)


def jittered(inputs: Any) -> Any:
    """Inputs, nested or not, changed by a rounding error: each number that is no integer by another one."""
    if isinstance(inputs, Mapping):
        return {name: jittered(one) for name, one in inputs.items()}
    if isinstance(inputs, list | tuple):
        return type(inputs)(map(jittered, inputs))
    array = flatten(inputs)[0]
    if array.dtype.kind != "f":
        return inputs
    noise = np.random.default_rng(0).standard_normal(array.shape)
    moved = (array * (1 + ROUNDING * noise)).astype(array.dtype)
    return inputs.new_tensor(moved) if hasattr(inputs, "new_tensor") else moved


def require_equal(
    what: str, before: Network, after: Network, inputs: Iterable[Any], tolerance: float = TOLERANCE
) -> None:
    """Raise `StepFailed` where `after` computes something other than `before` on any of the inputs."""
    for one in inputs:
        found = difference(before(one), after(one))
        if not found.relative <= tolerance and not found.relative <= unsettled(before, one):
            raise StepFailed(
                f"{what} must leave the outputs as they are, and changes them by {found.relative:.2g} of the largest "
                f"(allowed: {tolerance:.0e}). Nothing was kept. Leave this option out, and report the network."
            )


def _of_one(expected: Array, found: Array) -> Difference:
    same = np.isfinite(expected) & np.isfinite(found) | (expected == found) | (np.isnan(expected) & np.isnan(found))
    if not same.all():
        return Difference(np.inf, np.inf)
    finite = np.isfinite(expected)
    error = np.where(finite, found - np.where(finite, expected, 0.0), 0.0)
    values = np.where(finite, expected, 0.0)
    spread = values - values.mean(axis=0) if values.ndim and len(values) > 1 else values
    scale = max(_rms(spread), 1e-6 * _rms(values), float(np.finfo(np.float32).tiny))
    return Difference(float(np.abs(error).max() / max(1.0, np.abs(values).max())), _rms(error) / scale)


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
