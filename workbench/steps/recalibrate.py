"""`Recalibrate`: batch-norm statistics estimated anew on calibration images."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.cost.weights import Weights
from workbench.data.batches import batches, count
from workbench.modules.calling import call
from workbench.settings import decades
from workbench.step import Context, Decision, Plan, Rewrite, row, setting

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
        module = copy.deepcopy(module)
        norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
        if not norms or context.calibration is None:
            return module
        module.eval()  # dropout stays off
        sums = {norm: _Sums() for norm in norms}
        handles = [norm.register_forward_pre_hook(total.add) for norm, total in sums.items()]
        inputs = context.calibration.first(self.images)
        try:
            for norm in norms:
                norm.train()  # normalise by the batch, so that the layers behind see what they will see
                norm.track_running_stats = False
            with torch.no_grad():
                for index, batch in enumerate(batches(inputs, BATCH)):
                    context.progress(index * BATCH / len(inputs), self.title)
                    if count(batch) > 1:  # one value has no variance
                        call(module, batch)
        finally:
            for handle in handles:
                handle.remove()
            for norm in norms:
                norm.track_running_stats = True
        for norm, total in sums.items():
            total.store(norm)
        return module.eval()


def _estimates(norm: Layer, module: nn.Module | None) -> bool:
    """Whether a normalisation keeps statistics; of one that an earlier step makes it is known by its kind."""
    return "batch_norm" in norm.op and bool(getattr(module, "track_running_stats", True))


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
