"""Networks that others have wrapped: compiled, parallel, exported."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn

from workbench.errors import BadValue
from workbench.modules.snapshot import unwrapped


def unwrap(source: Any) -> nn.Module:
    """The network inside `torch.compile`, `DataParallel` and exported programs; any other as it is.

    Raises: `BadValue` for what is no network, and for TorchScript, which holds no operations to follow.
    """
    if isinstance(source, torch.export.ExportedProgram):
        return _without_guards(source.module())
    if not isinstance(source, nn.Module):
        raise BadValue(_what(source))
    if isinstance(source, torch.jit.ScriptModule):
        raise BadValue("A TorchScript network holds compiled code and no layers to follow. Load the original module.")
    source = unwrapped(source)
    scripted = next((name for name, one in source.named_modules() if isinstance(one, torch.jit.ScriptModule)), None)
    if scripted is not None:
        raise BadValue(
            f"Its part {scripted!r} is TorchScript, which holds compiled code and no layers to follow. Put the "
            "original module in its place."
        )
    return _without_guards(source) if isinstance(source, fx.GraphModule) else source


def _without_guards(module: nn.Module) -> nn.Module:
    """An exported program without its checks that inputs are as they were when it was exported."""
    if not isinstance(module, fx.GraphModule) or not hasattr(module, "_guards_fn"):
        return module
    made = copy.deepcopy(module)
    for node in list(made.graph.nodes):
        if node.op == "call_module" and node.target == "_guards_fn":
            made.graph.erase_node(node)
    made.recompile()
    return made


def _what(source: Any) -> str:
    if isinstance(source, Mapping) and any(isinstance(one, torch.Tensor) for one in source.values()):
        return (
            f"A dictionary of {len(source)} tensors holds weights and no network. Make the network, give it the "
            "weights with load_state_dict, and load that."
        )
    return (
        f"A network is a name, a file, or an nn.Module with example=; got a {type(source).__name__}. "
        "wb.catalog() lists the names."
    )
