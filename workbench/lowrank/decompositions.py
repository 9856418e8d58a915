"""Tucker-2 and CP as TensorLy's tensors: by the numerics here, or by TensorLy's own.

TensorLy brings SciPy and takes a second to import, so that it waits for the first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from workbench.errors import BadValue
from workbench.interface.arguments import check_kinds
from workbench.lowrank import polyadic, tucker
from workbench.lowrank.checks import checked
from workbench.lowrank.tucker import TuckerBasis

if TYPE_CHECKING:
    from workbench.lowrank.tensors import CPTensor, TuckerTensor

Tensor = torch.Tensor
METHODS = ("fast", "tensorly")


@check_kinds
def tucker2(
    weight: Tensor,
    rank: tuple[int, int],
    *,
    method: str = "fast",
    sweeps: int = 4,
    start: TuckerBasis | None = None,
    moment: Tensor | None = None,
) -> TuckerTensor:
    """Decompose a kernel (out, in, *kernel) at rank (r_out, r_in): TensorLy's `TuckerTensor` of two factors.

    `start` is the kernel's cached basis, if there is one. With `moment`, the second moment of the input
    patches (in * taps, in * taps), it minimises the error of the layer's outputs instead of the weight's.
    `method="tensorly"` computes with TensorLy's `partial_tucker`, which knows neither: the slower reference.

    Raises: `BadValue` for a bad weight, a rank outside 1..full, or an unknown method.

    >>> tucker2(torch.randn(8, 6, 3, 3), (4, 3)).core.shape
    torch.Size([4, 3, 3, 3])
    """
    reference = _is_reference("tucker2", method, start=start, moment=moment)
    from workbench.lowrank import tensors

    if reference:
        return tensors.tucker2(weight, rank)
    return tensors.TuckerTensor(tucker.decompose(weight, rank, sweeps=sweeps, start=start, moment=moment))


@check_kinds
def cp(
    weight: Tensor,
    rank: int,
    *,
    method: str = "fast",
    starts: int = 2,
    slack: float = 0.02,
    moment: Tensor | None = None,
) -> CPTensor:
    """Decompose a kernel (out, in, ...) of 3 or 4 modes into `rank` rank-one terms: TensorLy's `CPTensor`.

    The best of `starts` fits is corrected for sensitivity at an error at most `slack` (relative) above it.
    With `moment`, the second moment of the input patches, the error is that of the layer's outputs.
    At the full rank the decomposition is written down exactly. `method="tensorly"` gives the best of `starts` runs
    of TensorLy's `parafac` from random factors, uncorrected: the reference.

    Raises: `BadValue` for a bad weight, a rank outside 1..full, or an unknown method.
    """
    reference = _is_reference("cp", method, moment=moment)
    from workbench.lowrank import tensors

    if reference:
        return tensors.cp(weight, rank, starts)
    factors = polyadic.fit(weight, rank, starts=starts, slack=slack, moment=moment)
    return tensors.normalized(checked(weight, "CP", (3, 4)), factors)


def _is_reference(name: str, method: str, **unknown: object) -> bool:
    """Whether TensorLy is to compute. Raises: `BadValue` for another method, or for what TensorLy has no use for."""
    if method not in METHODS:
        raise BadValue(f"{name}(method={method!r}): the methods are {' and '.join(map(repr, METHODS))}.")
    for argument, value in unknown.items():
        if method == "tensorly" and value is not None:
            raise BadValue(
                f"{name}(method='tensorly', {argument}=...): TensorLy has no use for {argument}. Leave it out, or take "
                "method='fast'."
            )
    return method == "tensorly"
