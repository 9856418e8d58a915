"""Paths in torch for operations of a file, from the names that it gives them."""

from __future__ import annotations

import re

import onnx
from torch import nn

from workbench.artefact.onnx_graph import scope

#: Names of attributes that programs and their operations have themselves.
_OWN = frozenset({
    "inputs", "outputs", "one", "opset", "scope", "seen", "batch", "node", "title", "rule", "given", "weights",
    "branches", "program", "settled", "shared", "taken", "weight", "bias", "input",
})  # fmt: skip


def path_of(node: onnx.NodeProto, inside: str) -> str:
    """A torch path for an operation: of its weight, else of its name."""
    weight = next((one for one in node.input[1:2] if one.endswith(".weight")), "")
    text = weight.removesuffix(".weight") or scope(node.name) or node.name or f"{node.op_type}_{node.output[0]}"
    text = text.replace("/", ".").replace(":", ".")
    parts = [re.sub(r"\W+", "_", one).strip("_") for one in text.split(".")]
    return ".".join(one for one in (*inside.split("."), *parts) if one) or node.op_type


def free_path(program: nn.Module, path: str) -> str:
    """A path that nothing has yet."""
    parts = [one if not hasattr(nn.Module, one) and one not in _OWN else f"{one}_" for one in path.split(".")]
    path, taken = ".".join(parts), vars(program).setdefault("taken", set())
    found, count = path, 1
    while found in taken:
        count += 1
        found = f"{path}_{count}"
    taken.add(found)
    taken.update(found.rsplit(".", n)[0] for n in range(1, found.count(".") + 1))
    return found
