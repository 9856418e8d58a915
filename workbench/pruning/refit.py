"""After channels go, the layers that read them are fitted anew, so that what stays stands in for what went."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from workbench.lowrank.moments import solve
from workbench.pruning.channels import Channels, Mask
from workbench.pruning.importance import Reader, flat_weight, norms_after


@torch.no_grad()
def refit(module: nn.Module, channels: Channels, kept: Mask, known: Mapping[str, Reader]) -> None:
    """Fit the weights on the inputs that stay, in place, to the outputs on calibration images.

    Least squares under the moment S of the inputs, W_k' = W S_:k S_kk^-1 (He et al. 2017, eq. 3), from what the
    scores know already: W' = W - W_g (S^-1_gg)^-1 S^-1_g: for the inputs g that go (Hassibi & Stork 1993, eq. 5).
    The shift of the mean output goes to the bias, or to the running mean of the norm behind.
    """
    norms = norms_after(channels.network, module)
    for layer, reads in zip(channels.network.layers, channels.reads, strict=True):
        if layer.module not in known or kept[reads].all():
            continue
        one, norm = known[layer.module], norms.get(layer.module)
        bias = getattr(module.get_submodule(layer.module), "bias", None)
        weight = flat_weight(module, layer)
        gone = torch.from_numpy(~kept[reads]).repeat_interleave(weight.shape[1] // len(reads))
        rows = one.inverse[gone].double()
        fitted = weight - solve(rows[:, gone], weight[:, gone].T).T @ rows
        fitted[:, gone] = 0.0
        shift = (weight - fitted) @ one.mean
        target = module.get_parameter(f"{layer.module}.weight")
        target.copy_(fitted.reshape(target.shape))
        if bias is not None:
            bias.add_(shift.to(bias.dtype))
        elif norm is not None and norm.running_mean is not None:
            norm.running_mean.sub_(shift.to(norm.running_mean.dtype))
