"""Low-rank numerics: tensors in, factors out (as TensorLy's tensors). Nothing here knows what a module is.

>>> core, (outputs, inputs) = wb.lowrank.tucker2(torch.rand(8, 4, 3, 3), (4, 2))
>>> tuple(core.shape), tuple(outputs.shape), tuple(inputs.shape)
((4, 2, 3, 3), (8, 4), (4, 2))
"""

from __future__ import annotations

from workbench.lowrank.alternating import sensitivity
from workbench.lowrank.bayes import EVBMF, evbmf
from workbench.lowrank.decompositions import cp, tucker2
from workbench.lowrank.filters import Grouped, Separable, grouped, separable, stack3
from workbench.lowrank.matrices import SVD, Separated, spatial, svd
from workbench.lowrank.tucker import TuckerBasis, basis

__all__ = [
    "EVBMF",
    "SVD",
    "Grouped",
    "Separable",
    "Separated",
    "TuckerBasis",
    "basis",
    "cp",
    "evbmf",
    "grouped",
    "sensitivity",
    "separable",
    "spatial",
    "stack3",
    "svd",
    "tucker2",
]
