"""The plain layers that canonical networks are made of: torch's, and the few of our own. As data, and back.

Only what is listed here can be built from a file, so a file of a stranger's runs no code of a stranger's.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from workbench.artefact.whole import Whole
from workbench.errors import BadFile, StepFailed, shown
from workbench.models.own_layers import Reorder, Resize, ShiftChannels

_NAMES = """
    Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d Linear Embedding
    BatchNorm1d BatchNorm2d BatchNorm3d InstanceNorm1d InstanceNorm2d InstanceNorm3d GroupNorm LayerNorm RMSNorm
    LocalResponseNorm
    ReLU ReLU6 LeakyReLU PReLU ELU CELU SELU GELU GLU SiLU Mish Sigmoid LogSigmoid Tanh Softplus Softsign Softshrink
    Hardshrink Tanhshrink Hardtanh Hardsigmoid Hardswish Threshold Softmax Softmin LogSoftmax Softmax2d
    Identity Flatten Unflatten Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout
    AvgPool1d AvgPool2d AvgPool3d MaxPool1d MaxPool2d MaxPool3d LPPool1d LPPool2d
    AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d
    ZeroPad1d ZeroPad2d ZeroPad3d ConstantPad1d ConstantPad2d ConstantPad3d ReflectionPad1d ReflectionPad2d
    ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d CircularPad1d CircularPad2d CircularPad3d
    Upsample UpsamplingNearest2d UpsamplingBilinear2d PixelShuffle PixelUnshuffle ChannelShuffle
"""
#: Every layer type that a network may name, by its name.
LAYER_TYPES: dict[str, type[nn.Module]] = {
    **{name: getattr(nn, name) for name in _NAMES.split() if hasattr(nn, name)},
    **{kind.__name__: kind for kind in (Reorder, Resize, ShiftChannels, Whole)},
}
#: Convolutions and linear layers: what factorizations, pruning and quantization treat.
WEIGHED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
#: Arguments of constructors that say where and how, not what.
_NOT_KEPT = frozenset("self device dtype inplace _weight _freeze args kwargs min_value max_value".split())


def is_plain(module: nn.Module) -> bool:
    """Whether a module is one of the listed layers and computes what its class says, of its one input."""
    own = LAYER_TYPES.get(type(module).__name__)
    if type(module) is not own or "forward" in vars(module) or _has_hooks(module):
        return False
    if isinstance(module, _ConvNd) and (module.padding_mode != "zeros" or isinstance(module.padding, str)):
        return False  # padding is then an operation of its own
    # Not by their names as attributes: a tracer answers with stand-ins.
    held = [one for one in module._parameters.values() if one is not None]
    return "weight" not in vars(module) and all(type(one) is nn.Parameter for one in held)


def describe(module: nn.Module, path: str) -> dict[str, Any]:
    """A layer as `{"type", "arguments"}`, a sequence of layers with its `"children"`.

    Raises: `StepFailed` for a layer that is not listed.
    """
    if type(module) is nn.Sequential:
        children = {name: describe(child, f"{path}.{name}") for name, child in module.named_children()}
        return {"type": "Sequential", "children": children}
    name = type(module).__name__
    if LAYER_TYPES.get(name) is not type(module):
        raise StepFailed(f"The layer {path!r} became a {name}, which cannot be stored as data.")
    return {"type": name, "arguments": {key: _argument(module, key) for key in _parameters(name)}}


def build(path: str, description: Any) -> nn.Module:
    """The layer of a description, on the meta device and without values. Raises: `BadFile`."""
    try:
        if description["type"] == "Sequential":
            made = nn.Sequential()
            for name, child in description["children"].items():
                made.add_module(name, build(f"{path}.{name}", child))
            return made
        name, given = description["type"], description["arguments"]
        arguments = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
        if unknown := arguments.keys() - set(_parameters(name)):
            raise ValueError(f"unknown arguments {sorted(unknown)}")
        with torch.device("meta" if LAYER_TYPES[name] is not Reorder else "cpu"):
            return LAYER_TYPES[name](**arguments)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise BadFile(f"The description of layer {shown(path)} cannot be built: {repr(error)[:500]}.") from error


def _argument(module: nn.Module, name: str) -> Any:
    if name == "bias":
        return getattr(module, "bias", None) is not None
    value = getattr(module, name)
    return list(value) if isinstance(value, (tuple, torch.Size)) else value


@cache
def _parameters(name: str) -> tuple[str, ...]:
    """The arguments of a layer type's constructor that say what it computes."""
    kind = LAYER_TYPES[name]
    known = inspect.signature(kind.__init__).parameters
    return tuple(one for one in known if one not in _NOT_KEPT)


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
