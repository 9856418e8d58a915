"""Low-rank numerics: tensors in, factors out. Nothing here knows what a module is."""

from __future__ import annotations

from workbench.lowrank.alternating import sensitivity
from workbench.lowrank.bayes import EVBMF, evbmf
from workbench.lowrank.filters import Grouped, Separable, grouped, separable, stack3
from workbench.lowrank.matrices import SVD, Separated, spatial, svd
from workbench.lowrank.polyadic import CP, cp
from workbench.lowrank.tucker import Tucker2, TuckerBasis, basis, tucker2

__all__ = [
    "CP",
    "EVBMF",
    "SVD",
    "Grouped",
    "Separable",
    "Separated",
    "Tucker2",
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
