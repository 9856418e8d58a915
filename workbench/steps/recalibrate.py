"""`Recalibrate`: batch-norm statistics estimated anew on calibration images."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.settings import decades
from workbench.statistics.collector import Feed, observe
from workbench.step import Context, Decision, Plan, Rewrite, row, setting

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Recalibrate(Rewrite):
    """Set every batch norm's mean and variance to those of the calibration images, as they arrive there now.

    A rewritten layer gives outputs of another spread; the stored statistics then normalise wrongly.
    Nothing is trained. Mean and variance are those of all images together, not averages over batches; while they
    are collected, each batch is normalised by those of all images so far.
    """

    title: ClassVar[str] = "Recalibrate batch norm"
    summary: ClassVar[str] = "Re-estimate batch-norm statistics on calibration images; nothing is trained."
    family: ClassVar[str] = "recovery"
    treats: ClassVar[str] = "batch norm: no layer keeps statistics"

    images: int = setting(
        1000, "integer", "Calibration images to use, at most.", low=2, high=100_000, stops=decades(10, 100_000)
    )

    @property
    def effort(self) -> float:
        """That of its images."""
        return 0.003 * self.images

    def plan_on(self, network: Network, weights: Weights) -> Plan:
        """No shape changes; a row for each batch norm."""
        modules = dict(weights.module.named_modules())
        rows = tuple(
            row(self.brief, norm, Decision.RE_ESTIMATED, {"images": self.images}) if _estimates(norm, modules.get(name))
            else row(self.brief, norm, Decision.UNFIT, {"why": "it keeps no statistics, each input has its own"})
            for name, (norm, *_) in network.by_module.items() if norm.kind == "norm"
        )  # fmt: skip
        return Plan(network, network, rows)

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy with new statistics; as it was where there are no batch norms or no calibration images."""
        module = copy.deepcopy(module).eval()  # dropout stays off
        norms = {n: m for n, m in module.named_modules() if isinstance(m, _BatchNorm) and m.track_running_stats}
        if norms and context.calibration is not None:
            feed = Feed.of(context.calibration.first(self.images), trace(module, context.example))
            observe(module, {name: _Sums(norm).see for name, norm in norms.items()}, feed, context.progress, self.title)
        return module


def _estimates(norm: Layer, module: nn.Module | None) -> bool:
    """Whether a normalisation keeps statistics; of one that an earlier step makes it is known by its kind."""
    return "batch_norm" in norm.op and bool(getattr(module, "track_running_stats", True))


class _Sums:
    """The exact mean and variance of everything that a norm has read, over all batches.

    The norm uses them at once, so that the layers behind see what they will see. Batches are joined as in Chan et al.
    1979, "Updating formulae and a pairwise algorithm for computing sample variances".
    """

    def __init__(self, norm: _BatchNorm) -> None:
        self.norm = norm
        self.count = 0
        self.mean = self.squares = torch.zeros(())  # the squares of what differs from the mean, summed

    def see(self, x: torch.Tensor) -> None:
        """Add inputs (N, channels, ...), and write what is known to the norm; one value has no variance."""
        axes = [axis for axis in range(x.dim()) if axis != 1]
        count = x.numel() // x.shape[1]
        own = x.mean(axes, keepdim=True)
        spread = torch.linalg.vector_norm(x - own, dim=axes).double()  # six times as quick as `torch.var_mean`
        whole, apart = self.count + count, own.flatten().double() - self.mean
        self.squares = self.squares + spread.square() + apart.square() * (self.count * count / whole)
        self.mean = self.mean + apart * (count / whole)
        self.count = whole
        if whole > 1 and self.norm.running_mean is not None and self.norm.running_var is not None:
            self.norm.running_mean.copy_(self.mean)
            self.norm.running_var.copy_(self.squares / (whole - 1))
