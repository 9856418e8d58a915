"""Low-rank numerics: tensors in, factors out (as TensorLy's tensors). Nothing here knows what a module is."""

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
