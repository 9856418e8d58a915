"""After channels go, the layers that read them are fitted anew, so that what stays stands in for what went."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from workbench.lowrank.moments import regularised, solve
from workbench.pruning.channels import Channels, Mask, makes
from workbench.pruning.importance import flat_weight, norms_after
from workbench.statistics.moments import Moments


@torch.no_grad()
def refit(module: nn.Module, channels: Channels, kept: Mask, moments: Mapping[str, Moments]) -> None:
    """Fit the weights on the inputs that stay, in place, to the outputs on calibration images.

    Least squares under the moment S of the inputs, W' = W S_:k S_kk^-1 (He et al. 2017, eq. 3). The shift of
    the mean output goes to the bias, or to the running mean of the norm behind.
    """
    norms = norms_after(channels.network, module)
    for layer, reads in zip(channels.network.layers, channels.reads, strict=True):
        data = moments.get(layer.module)
        if data is None or not data.count or not makes(layer) or layer.groups > 1 or kept[reads].all():
            continue
        owner = module.get_submodule(layer.module)
        norm = norms.get(layer.module)
        bias = getattr(owner, "bias", None)
        weight = flat_weight(module, layer)
        stay = torch.from_numpy(kept[reads]).repeat_interleave(weight.shape[1] // len(reads))
        moment = regularised(data.moment(centred=bias is not None or norm is not None), data.count)[0]
        fitted = torch.zeros_like(weight)
        fitted[:, stay] = solve(moment[stay][:, stay], moment[stay] @ weight.T).T
        shift = (weight - fitted) @ data.mean[0]
        target = module.get_parameter(f"{layer.module}.weight")
        target.copy_(fitted.reshape(target.shape))
        if bias is not None:
            bias.add_(shift.to(bias.dtype))
        elif norm is not None and norm.running_mean is not None:
            norm.running_mean.sub_(shift.to(norm.running_mean.dtype))
