"""`Graph`: a network in canonical form, and that form as plain data.

Every convolution, linear layer and normalisation is a plain torch module under the name that it had; all else is a
function of the list in `functions`. A graph and its tensors are all that a variant is: nothing of the classes that
it came from is needed to open it again.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import fx, nn

from workbench.errors import BadFile, StepFailed, shown
from workbench.models.functions import ATTRIBUTES, METHODS, name_of, named
from workbench.models.layers import build, describe

#: The most operations that a file may describe.
MOST_NODES = 200_000
_OPS = frozenset({"placeholder", "get_attr", "call_function", "call_method", "call_module", "output"})
_KINDS = {"dtype": torch.dtype, "memory_format": torch.memory_format, "layout": torch.layout}


class Graph(fx.GraphModule):
    """A network as operations in order, each with its inputs. `graph["name"]` and `graph[0]` are its parts.

    `node.meta["owner"]` is the path of the module that an operation came from, "" at the top.
    """

    def __getitem__(self, part: int | str) -> nn.Module:
        """The part of this name, or number `part` of those directly below the network, as in an `nn.Sequential`."""
        return self.get_submodule(part if isinstance(part, str) else list(self._modules)[part])


def unstorable(graph: fx.Graph) -> str:
    """Which operation of a graph cannot stand in a file, or "" where all can."""
    for node in graph.nodes:
        if node.op == "call_function" and name_of(node.target) is None:
            return getattr(node.target, "__qualname__", None) or str(node.target)
        if node.op == "call_function" and name_of(node.target) == "getattr" and node.args[1] not in ATTRIBUTES:
            return f"the attribute {node.args[1]!r}"
        if node.op == "call_method" and node.target not in METHODS:
            return f"Tensor.{node.target}"
    return ""


def drop_unread(graph: fx.Graph) -> None:
    """Leave out what nothing reads and what writes into nothing. Draws, which torch keeps, go too."""
    for node in reversed(graph.nodes):
        if not node.users and node.op not in {"placeholder", "output"} and not _writes(node):
            graph.erase_node(node)


def _writes(node: fx.Node) -> bool:
    if isinstance(node.target, torch._ops.OpOverload):
        return bool(node.target._schema.is_mutable)
    return node.op == "call_method" and str(node.target).endswith("_")


def to_data(module: fx.GraphModule) -> dict[str, Any]:
    """The operations and layers as plain values for JSON. Raises: `StepFailed` for what cannot be written down."""
    missing = unstorable(module.graph)
    if missing:
        raise StepFailed(f"The network calls {missing}, which cannot be stored as data.")
    try:
        nodes = [_node_data(node) for node in module.graph.nodes]
    except TypeError as error:
        raise StepFailed(f"The network cannot be stored as data: {error}.") from error
    called = dict.fromkeys(str(node.target) for node in module.graph.nodes if node.op == "call_module")
    layers = {path: describe(module.get_submodule(path), path) for path in called}
    return {"nodes": nodes, "layers": layers, "tensors": _tensors(module, called)}


def from_data(data: Any, name: str = "Graph") -> Graph:
    """The network of `to_data`, its layers and tensors on the meta device. Raises: `BadFile`."""
    try:
        root = nn.Module()
        for path, description in data["layers"].items():
            add_submodule(root, path, build(path, description))
        for path, facts in data["tensors"].items():
            _put_tensor(root, path, facts)
        graph = _graph(data["nodes"])
        made = Graph(root, graph, name)
        graph.lint()
        made.eval()
        return made
    except BadFile:
        raise
    except Exception as error:  # the file may hold anything; torch raises what it likes
        raise BadFile(f"The description of the network cannot be read: {repr(error)[:500]}.") from error


def _node_data(node: fx.Node) -> dict[str, Any]:
    target = name_of(node.target) if node.op == "call_function" else str(node.target)
    found = {"name": node.name, "op": node.op, "target": target, "args": _encode(node.args)}
    extra = {"kwargs": _encode(node.kwargs), "owner": node.meta.get("owner", "")}
    return found | {key: value for key, value in extra.items() if value not in ("", {"dict": []})}


def _graph(nodes: Any) -> fx.Graph:
    if not isinstance(nodes, list) or len(nodes) > MOST_NODES:
        raise BadFile(f"The description lists no operations, or more than {MOST_NODES:,}.")
    graph = fx.Graph()
    made: dict[str, fx.Node] = {}
    for entry in nodes:
        op, target = entry["op"], entry["target"]
        if op not in _OPS or not _sound(op, target):
            raise BadFile(f"The description names an operation {shown(op)} {shown(target)}, which is not known here.")
        if op == "call_function":
            target = _function(target)
        args, kwargs = _decode(entry["args"], made), _decode(entry.get("kwargs", {"dict": []}), made)
        if not all(_is_name(key) for key in kwargs):
            raise BadFile(f"The description names the arguments {shown(list(kwargs))}, which are no names.")
        node = graph.create_node(op, target, args, kwargs, name=entry["name"])
        node.meta["owner"] = str(entry.get("owner", ""))
        made[entry["name"]] = node
    return graph


def _sound(op: Any, target: Any) -> bool:
    """Whether a target may stand in a graph. torch makes Python source of graphs, into which these texts go as they
    are: nothing may be in them that ends the place where they stand.
    """
    if not isinstance(target, str):
        return False
    if op == "call_method":
        return target in METHODS
    if op == "placeholder":
        return _is_name(target)
    return op == "call_function" or (target.isprintable() and not set(target) & set("\"'\\"))


def _is_name(text: Any) -> bool:
    return isinstance(text, str) and text.isidentifier() and not keyword.iskeyword(text)


def _function(name: Any) -> Any:
    found = named(str(name))
    if found is None:
        raise BadFile(f"The description names the function {shown(name)}, which is not known here.")
    return found


def _tensors(module: nn.Module, called: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors that operations read by themselves: whether they are parameters, their shapes and types."""
    found = {}
    inside = tuple(f"{path}." for path in called)
    for kind, named_tensors in (("parameter", module.named_parameters), ("buffer", module.named_buffers)):
        for path, tensor in named_tensors(remove_duplicate=False):
            if not path.startswith(inside):
                found[path] = {"kind": kind, "shape": list(tensor.shape), "dtype": _encode(tensor.dtype)["dtype"]}
    return found


def add_submodule(root: nn.Module, path: str, new: nn.Module) -> None:
    """Put a module at a path; what is missing on the way there is made."""
    parent, _, leaf = path.rpartition(".")
    place = root
    for part in parent.split(".") if parent else ():
        if part not in place._modules:
            place.add_module(part, nn.Module())
        inner = place._modules[part]
        assert inner is not None
        place = inner
    place.add_module(leaf, new)


def _put_tensor(root: nn.Module, path: str, facts: Mapping[str, Any]) -> None:
    parent, _, leaf = path.rpartition(".")
    if parent:
        try:
            place = root.get_submodule(parent)
        except AttributeError:
            place = nn.Module()
            add_submodule(root, parent, place)
    else:
        place = root
    empty = torch.empty(facts["shape"], dtype=_decode({"dtype": facts["dtype"]}, {}), device="meta")
    if facts["kind"] == "parameter":
        place.register_parameter(leaf, nn.Parameter(empty))
    else:
        place.register_buffer(leaf, empty)


def _encode(value: Any) -> Any:
    """A value of an operation's arguments for JSON. Raises: `TypeError`."""
    if value is None or isinstance(value, (bool, str)) or (isinstance(value, (int, float)) and math.isfinite(value)):
        return value
    if isinstance(value, list):
        return _encode_all(value)
    for kind, (of, held) in _WRITTEN.items():
        if isinstance(value, of):
            return {kind: held(value)}
    raise TypeError(f"an argument is a {type(value).__name__}")


def _encode_all(values: Iterable[Any]) -> list[Any]:
    return [_encode(one) for one in values]


#: What JSON has no value for: its type, and what is written under the name of its kind.
_WRITTEN: dict[str, tuple[type, Callable[[Any], Any]]] = {
    "node": (fx.Node, lambda node: node.name),
    "float": (float, str),
    "tuple": (tuple, _encode_all),
    "dict": (dict, lambda held: [[key, _encode(one)] for key, one in held.items()]),
    "slice": (slice, lambda part: _encode_all((part.start, part.stop, part.step))),
    "ellipsis": (type(...), lambda _: True),
    "device": (torch.device, lambda device: device.type),
    **{kind: (of, lambda value: str(value).rpartition(".")[2]) for kind, of in _KINDS.items()},
}


def _decode(value: Any, nodes: Mapping[str, fx.Node]) -> Any:
    """The value of `_encode`. Raises: `BadFile`, `KeyError`."""
    if isinstance(value, list):
        return [_decode(one, nodes) for one in value]
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind == "node":
        return nodes[held]
    if kind == "dict":
        return {key: _decode(one, nodes) for key, one in held}
    if kind == "device":
        return torch.device("cpu")
    if kind in _KINDS:
        found = getattr(torch, str(held))
        if isinstance(found, _KINDS[kind]):
            return found
    simple: dict[str, Callable[[Any], Any]] = {
        "tuple": tuple, "slice": lambda parts: slice(*parts), "ellipsis": lambda _: Ellipsis, "float": float,
    }  # fmt: skip
    if kind not in simple:
        raise BadFile(f"The description holds a value of kind {shown(kind)}, which is not known here.")
    return simple[kind](_decode(held, nodes))
