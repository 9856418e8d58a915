"""Tensor trains of kernels (Oseledets 2011, "Tensor-train decomposition"): TensorLy's, and fits of them to outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from workbench.lowrank.checks import checked
from workbench.lowrank.moments import regress
from workbench.lowrank.polyadic import whitened

Tensor = torch.Tensor


def train(weight: Tensor, ranks: Sequence[int], moment: Tensor | None = None) -> list[Tensor]:
    """Cores (r, n, r') of a kernel (out, in, *taps), seen as (in, *taps, out), with `ranks` between them.

    With `moment`, the second moment of the input patches, the kernel is decomposed under the moment's best Kronecker
    marginals, and the last core is the optimum for the layer's outputs. Raises: `BadValue` for a bad weight.
    """
    weight = checked(weight, "TensorTrain", tuple(range(2, 6)))
    if moment is None:
        return _cores(weight.movedim(0, -1), ranks)
    exact, lowers = whitened(weight, moment)
    cores = _cores(exact.movedim(0, -1), ranks)
    inner = [_unwhitened(core, lower) for core, lower in zip(cores, lowers, strict=False)]
    seen = joined(inner).flatten(0, -2)  # what the earlier cores make of a patch, (in * taps, r)
    last = regress(weight.flatten(1).to(moment.dtype), moment, seen.T).T.unsqueeze(-1)
    return [core.to(weight.dtype) for core in (*inner, last)]


def joined(cores: Sequence[Tensor]) -> Tensor:
    """Neighbouring cores (r, n, m), (m, n', r'), ... contracted: (r, n, n', ..., r')."""
    found = cores[0]
    for core in cores[1:]:
        found = torch.tensordot(found, core, dims=1)
    return found


def _cores(tensor: Tensor, ranks: Sequence[int]) -> list[Tensor]:
    from tensorly.decomposition import tensor_train  # with SciPy a second to import: not before a train is computed

    from workbench.lowrank.tensors import with_torch

    return list(with_torch(lambda: tensor_train(tensor, rank=[1, *ranks, 1]).factors))


def _unwhitened(core: Tensor, lower: Tensor) -> Tensor:
    flat = core.transpose(0, 1).flatten(1)
    plain: Tensor = torch.linalg.solve_triangular(lower.T, flat, upper=True)
    return plain.reshape(core.shape[1], core.shape[0], core.shape[2]).transpose(0, 1)
