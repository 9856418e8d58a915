"""`Recalibrate`: batch-norm statistics estimated anew on calibration images."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from workbench.cost.network import Network
from workbench.cost.weights import Weights
from workbench.steps.base import Context, Rewrite, Row, Sketch, setting

if TYPE_CHECKING:
    from torch import nn

BATCH = 100


@dataclass(frozen=True)
class Recalibrate(Rewrite):
    """Set every batch norm's mean and variance to those of the calibration images, as they arrive there now.

    A rewritten layer gives outputs of another spread; the stored statistics then normalise wrongly.
    Nothing is trained. Batches are averaged with equal weight (cumulative moving average).
    """

    title: ClassVar[str] = "Recalibrate batch norm"
    summary: ClassVar[str] = "Re-estimate batch-norm statistics on calibration images; nothing is trained."
    family: ClassVar[str] = "recovery"

    images: int = setting(1000, "integer", "Calibration images to use, at most.", low=2, high=100_000)

    def sketch(self, network: Network, weights: Weights) -> Sketch:
        """No shape changes; a row for each batch norm."""
        rows = tuple(
            Row(self.brief, ops[0].module, "norm", True, f"statistics from up to {self.images} calibration images",
                params=ops[0].params, params_after=ops[0].params)
            for ops in network.by_module.values() if ops[0].kind == "norm"
        )  # fmt: skip
        return Sketch(network, rows)

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy with new statistics; as it was where there are no batch norms or no calibration images."""
        module = copy.deepcopy(module)
        norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
        if not norms or context.calibration is None:
            return module
        module.eval()  # dropout stays off
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch's cumulative average
            norm.train()
        inputs = context.calibration[: self.images]
        with torch.no_grad():
            for index, batch in enumerate(inputs.split(BATCH)):
                context.progress(index * BATCH / len(inputs), self.title)
                if len(batch) > 1:  # one value has no variance
                    module(batch)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        return module.eval()
