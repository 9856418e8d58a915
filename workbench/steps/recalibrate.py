"""`Recalibrate`: batch-norm statistics estimated anew on calibration images."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from workbench.cost.network import Layer, Network
from workbench.cost.weights import Weights
from workbench.data.batches import batches
from workbench.steps.base import Context, Rewrite, Row, Sketch, setting
from workbench.steps.settings import decades

if TYPE_CHECKING:
    from torch import nn

BATCH = 100


@dataclass(frozen=True)
class Recalibrate(Rewrite):
    """Set every batch norm's mean and variance to those of the calibration images, as they arrive there now.

    A rewritten layer gives outputs of another spread; the stored statistics then normalise wrongly.
    Nothing is trained. Mean and variance are those of all images together, not averages over batches.
    """

    title: ClassVar[str] = "Recalibrate batch norm"
    summary: ClassVar[str] = "Re-estimate batch-norm statistics on calibration images; nothing is trained."
    family: ClassVar[str] = "recovery"
    keeps_shapes: ClassVar[bool] = True

    images: int = setting(
        1000, "integer", "Calibration images to use, at most.", low=2, high=100_000, stops=decades(10, 100_000)
    )

    @property
    def effort(self) -> float:
        """That of its images."""
        return 0.003 * self.images

    def sketch(self, network: Network, weights: Weights) -> Sketch:
        """No shape changes; a row for each batch norm."""
        rows = tuple(
            Row(self.brief, ops[0].module, "norm", not why, why or f"statistics from up to {self.images} calibration "
                "images", params=ops[0].params, params_after=ops[0].params)
            for ops in network.by_module.values() if ops[0].kind == "norm" for why in [_why_not(ops[0], weights)]
        )  # fmt: skip
        return Sketch(network, rows)

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy with new statistics; as it was where there are no batch norms or no calibration images."""
        module = copy.deepcopy(module)
        norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
        if not norms or context.calibration is None:
            return module
        module.eval()  # dropout stays off
        sums = {norm: _Sums() for norm in norms}
        handles = [norm.register_forward_pre_hook(total.add) for norm, total in sums.items()]
        inputs = context.calibration[: self.images]
        try:
            for norm in norms:
                norm.train()  # normalise by the batch, so that the layers behind see what they will see
                norm.track_running_stats = False
            with torch.no_grad():
                for index, batch in enumerate(batches(inputs, BATCH)):
                    context.progress(index * BATCH / len(inputs), self.title)
                    if len(batch) > 1:  # one value has no variance
                        module(batch)
        finally:
            for handle in handles:
                handle.remove()
            for norm in norms:
                norm.track_running_stats = True
        for norm, total in sums.items():
            total.store(norm)
        return module.eval()


def _why_not(norm: Layer, weights: Weights) -> str:
    """Why a normalisation has nothing to estimate, or ""."""
    held = dict(weights.module.named_modules()).get(norm.module)
    if "batch_norm" in norm.op and getattr(held, "track_running_stats", True):
        return ""
    return "left alone: it keeps no statistics, each input is normalised by its own"


class _Sums:
    """The exact mean and variance of everything that a norm reads, over all batches."""

    def __init__(self) -> None:
        self.count = 0
        self.first: torch.Tensor | None = None
        self.second: torch.Tensor | None = None

    def add(self, _: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        x = args[0].double()
        axes = [axis for axis in range(x.dim()) if axis != 1]
        self.count += x.numel() // x.shape[1]
        first, second = x.sum(axes), x.square().sum(axes)
        self.first = first if self.first is None else self.first + first
        self.second = second if self.second is None else self.second + second

    def store(self, norm: _BatchNorm) -> None:
        """Write them to a norm; one that nothing reached keeps what it had."""
        if self.first is None or self.second is None or norm.running_mean is None or norm.running_var is None:
            return
        mean = self.first / self.count
        variance = (self.second / self.count - mean.square()).clamp_min(0) * self.count / max(self.count - 1, 1)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
