"""Operators that use parameters become plain torch modules: convolutions, linear layers, normalisations, dropout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from workbench.models.graph import add_submodule, drop_unread
from workbench.models.tied import bound, place

Tensor = torch.Tensor
aten = torch.ops.aten

CONVOLUTIONS: dict[tuple[int, bool], type[nn.Module]] = {
    (1, False): nn.Conv1d, (2, False): nn.Conv2d, (3, False): nn.Conv3d,
    (1, True): nn.ConvTranspose1d, (2, True): nn.ConvTranspose2d, (3, True): nn.ConvTranspose3d,
}  # fmt: skip
BATCH_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


@dataclass(frozen=True)
class Spec:
    """A layer to be: its type, its constructor's arguments, its tensors by name, and the node that it reads."""

    kind: type[nn.Module]
    arguments: dict[str, Any]
    tensors: dict[str, Any]  # a node that holds the value, or None where the layer has no such tensor
    reads: fx.Node
    transposed: bool = False  # the weight is the value transposed
    pad: tuple[int, ...] = ()  # zeros around the input first, as `functional.pad` takes them


def lift(module: fx.GraphModule) -> None:
    """Put modules in the places of operators, in place. Nodes are left with their owner alone as what is known."""
    work = _Lifting(module)
    for node in module.graph.nodes:
        rule = RULES.get(node.target) if node.op == "call_function" else None
        spec = rule(node) if rule is not None and not _sized_by_data(node) else None
        if spec is not None and work.is_layer(spec):
            work.specs[node] = spec
    for node in bound(module, work.specs, work.known, work.value):
        del work.specs[node]
    for node, spec in work.specs.items():
        work.put(node, spec)
    drop_unread(module.graph)
    for path, layer in work.made.items():
        add_submodule(module, path, layer)
    for node in module.graph.nodes:
        node.meta = {"owner": owner(node)}


def owner(node: fx.Node) -> str:
    """The path of the innermost module that an operator ran in."""
    if "owner" in node.meta:
        return str(node.meta["owner"])
    stack = node.meta.get("nn_module_stack") or {}
    path = next((str(path) for path, _ in reversed(list(stack.values()))), "")
    return path.removeprefix("L['self']").lstrip(".").partition("@")[0]


@dataclass
class _Lifting:
    module: fx.GraphModule
    values: dict[fx.Node, Tensor] = field(default_factory=dict)  # constants, computed when they are needed
    specs: dict[fx.Node, Spec] = field(default_factory=dict)  # what becomes a layer
    paths: dict[Any, str] = field(default_factory=dict)  # of layers made, by what they are
    made: dict[str, nn.Module] = field(default_factory=dict)
    replaced: dict[fx.Node, fx.Node] = field(default_factory=dict)
    parameters: dict[Any, nn.Parameter] = field(default_factory=dict)  # by the memory that they come from
    constant: set[fx.Node] = field(default_factory=set)  # what depends on parameters and buffers alone

    def __post_init__(self) -> None:
        """Nodes stand behind what they read, so one pass tells: thousands in a row are no recursion."""
        for node in self.module.graph.nodes:
            reads = node.all_input_nodes
            computed = node.op == "call_function" and bool(reads) and all(one in self.constant for one in reads)
            if node.op == "get_attr" or computed:
                self.constant.add(node)

    def is_layer(self, spec: Spec) -> bool:
        """Whether data meet a constant that was learnt: two constants are one. A fixed filter is no layer, nor is a
        norm of buffers alone, which stays as it is when the network trains.
        """
        if self.known(spec.reads) or not all(map(self.known, filter(None, spec.tensors.values()))):
            return False
        weight = spec.tensors.get("weight")
        return weight is None or self._learnt(weight)

    def _learnt(self, node: fx.Node) -> bool:
        """Whether a parameter is among what a constant is computed from."""
        if node.op == "get_attr":
            return isinstance(_attribute(self.module, str(node.target)), nn.Parameter)
        return any(map(self._learnt, node.all_input_nodes))

    def known(self, node: Any) -> bool:
        """Whether a node depends on parameters and buffers alone."""
        return isinstance(node, fx.Node) and node in self.constant

    @torch.no_grad()
    def value(self, node: fx.Node) -> Any:
        """The constant that a node gives."""
        if node not in self.values:
            if node.op == "get_attr":
                self.values[node] = _attribute(self.module, str(node.target))
            else:
                args = fx.map_arg(node.args, self.value)
                kwargs = fx.map_arg(node.kwargs, self.value)
                self.values[node] = node.target(*args, **kwargs)  # type: ignore[operator]  # a function
        return self.values[node]

    def put(self, node: fx.Node, spec: Spec) -> None:
        """The layer in the place of a node."""
        key = self._key(node)
        if key not in self.paths:
            self.paths[key] = self._make(node, spec)
        graph = self.module.graph
        with graph.inserting_before(node):
            reads = self.replaced.get(spec.reads, spec.reads)
            if spec.pad:
                reads = graph.call_function(aten.constant_pad_nd.default, (reads, list(spec.pad), 0.0))
                reads.meta = {"owner": owner(node)}
            new = graph.create_node("call_module", self.paths[key], (reads,))
        new.meta = {"owner": owner(node)}
        node.replace_all_uses_with(new)
        self.replaced[node] = new
        graph.erase_node(node)

    def _key(self, node: fx.Node) -> Any:
        """Calls with the same key are calls of one layer."""
        spec = self.specs[node]
        return owner(node), spec.kind, repr(sorted(spec.arguments.items())), tuple(spec.tensors.values())

    def _make(self, node: fx.Node, spec: Spec) -> str:
        path = self._path(node, spec)
        layer = spec.kind(**spec.arguments, device="meta") if spec.tensors else spec.kind(**spec.arguments)
        for name, source in spec.tensors.items():
            if source is not None:
                self._fill(layer, name, self.value(source), spec.transposed and name == "weight")
        for name, buffer in layer._buffers.items():
            if buffer is not None and buffer.is_meta:
                layer._buffers[name] = torch.zeros_like(buffer, device="cpu")  # batches seen: of no use
        self.made[path] = layer.eval()
        return path

    def _fill(self, layer: nn.Module, name: str, value: Tensor, transposed: bool) -> None:
        if name in layer._buffers:
            layer._buffers[name] = value.detach().clone()
            return
        key = (*place(value), transposed)  # layers that share a weight go on sharing it
        if key not in self.parameters:
            held = value.detach().t() if transposed else value.detach()
            self.parameters[key] = nn.Parameter(held.clone(memory_format=torch.contiguous_format))
        layer._parameters[name] = self.parameters[key]

    def _path(self, node: fx.Node, spec: Spec) -> str:
        """The owner's path where that is free, else one below it."""
        place = owner(node)
        wanted = place if place and self._alone(node, place, spec) else f"{place}.{node.name}".lstrip(".")
        busy = {name for name, _ in self.module.named_modules()} - {place}
        path, count = wanted, 0
        while path in self.made or path in busy:
            count += 1
            path = f"{wanted}_{count}"
        return path

    def _alone(self, node: fx.Node, place: str, spec: Spec) -> bool:
        """Whether a layer is the only one in a module, and uses all that the module holds."""
        if any(str(one.target).startswith(f"{place}.") for one in self._others(spec)):
            return False
        key, inside = self._key(node), f"{place}."
        others = [one for one in self.specs if f"{owner(one)}.".startswith(inside) and self._key(one) != key]
        return not others

    def _others(self, spec: Spec) -> list[fx.Node]:
        """The parameters and buffers in use that a layer does not come from."""
        used, waiting = set(), [one for one in spec.tensors.values() if one is not None]
        while waiting:
            one = waiting.pop()
            used.add(one)
            waiting += [more for more in one.all_input_nodes if more not in used]
        return [one for one in self.module.graph.nodes if one.op == "get_attr" and one.users and one not in used]


def _attribute(module: nn.Module, path: str) -> Any:
    parent, _, leaf = path.rpartition(".")
    return getattr(module.get_submodule(parent), leaf)


def _sized_by_data(node: fx.Node) -> bool:
    """Whether an argument that a layer has as a number is computed, such as one group for each input of a batch."""
    return any(not isinstance(one.meta.get("val", Tensor), (Tensor, type)) for one in node.all_input_nodes)


# What each operator is as a layer; None where it is none.


def _values(node: fx.Node) -> dict[str, Any]:
    """The arguments of an operator by name, with its defaults."""
    assert isinstance(node.target, torch._ops.OpOverload)
    found = {}
    for index, one in enumerate(node.target._schema.arguments):
        default = one.default_value if one.has_default_value() else None
        found[one.name] = node.args[index] if index < len(node.args) else node.kwargs.get(one.name, default)
    return found


def _weight(node: Any) -> Any:
    return node.meta["val"] if isinstance(node, fx.Node) and "val" in node.meta else None


def _axes(value: Any, count: int) -> tuple[int, ...]:
    given = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return given if len(given) == count else given * count


def _convolution(node: fx.Node) -> Spec | None:
    v = _values(node)
    weight, (reads, bias) = _weight(v["weight"]), (v["input"], v["bias"])
    inputs = _weight(reads)
    if weight is None or inputs is None or inputs.dim() != weight.dim():  # without a batch
        return None
    axes, transposed = weight.dim() - 2, "transpose" in str(node.target) or bool(v.get("transposed"))
    kernel, groups = tuple(weight.shape[2:]), v["groups"]
    stride, dilation = _axes(v["stride"], axes), _axes(v["dilation"], axes)
    first, second = map(int, weight.shape[:2])
    ins, outs = (first, second * groups) if transposed else (second * groups, first)
    padding, pad = _padding(v["padding"], kernel, dilation)
    arguments = {
        "in_channels": ins, "out_channels": outs, "kernel_size": tuple(map(int, kernel)), "stride": stride,
        "padding": padding, "dilation": dilation, "groups": groups, "bias": bias is not None,
    }  # fmt: skip
    if transposed:
        arguments["output_padding"] = _axes(v["output_padding"], axes)
    return Spec(CONVOLUTIONS[axes, transposed], arguments, {"weight": v["weight"], "bias": bias}, reads, pad=pad)


def _padding(value: Any, kernel: Any, dilation: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The padding of a layer, and what has to be put around its input before, as an operation of its own."""
    if not isinstance(value, str):
        return _axes(value, len(kernel)), ()
    if value == "valid":
        return (0,) * len(kernel), ()
    totals = [d * (int(k) - 1) for k, d in zip(kernel, dilation, strict=True)]
    if all(total % 2 == 0 for total in totals):
        return tuple(total // 2 for total in totals), ()
    sides = [(total // 2, total - total // 2) for total in totals]
    return (0,) * len(kernel), tuple(side for pair in reversed(sides) for side in pair)


def _linear(node: fx.Node) -> Spec | None:
    v = _values(node)
    weight = _weight(v["weight"])
    if weight is None or weight.dim() != 2:
        return None
    return _dense(weight.shape, v["weight"], v["bias"], v["input"])


def _product(node: fx.Node) -> Spec | None:
    """X @ W, where W has two axes: a linear layer whose weight is W transposed."""
    reads, right = node.args[:2]
    weight, left = _weight(right), _weight(reads)
    if weight is None or left is None or weight.dim() != 2 or left.dim() < 2:
        return None
    return _dense(weight.shape[::-1], right, None, reads, transposed=True)


def _sum_product(node: fx.Node) -> Spec | None:
    """B + x @ W."""
    v = _values(node)
    weight, bias = _weight(v["mat2"]), _weight(v["self"])
    if weight is None or bias is None or bias.dim() != 1 or v["alpha"] != 1 or v["beta"] != 1:
        return None
    if bias.shape[0] != weight.shape[1]:
        return None
    return _dense(weight.shape[::-1], v["mat2"], v["self"], v["mat1"], transposed=True)


def _dense(shape: Any, weight: Any, bias: Any, reads: Any, *, transposed: bool = False) -> Spec:
    outs, ins = map(int, shape)
    arguments = {"in_features": ins, "out_features": outs, "bias": bias is not None}
    return Spec(nn.Linear, arguments, {"weight": weight, "bias": bias}, reads, transposed)


def _batch_norm(node: fx.Node) -> Spec | None:
    v = _values(node)
    inputs, mean = _weight(v["input"]), v["running_mean"]
    if inputs is None or mean is None or v["training"] or (v["weight"] is None) != (v["bias"] is None):
        return None
    count = int(_weight(mean).shape[0])
    arguments = {"num_features": count, "eps": v["eps"], "momentum": v["momentum"], "affine": v["weight"] is not None}
    tensors = {name: v[name] for name in ("weight", "bias", "running_mean", "running_var")}
    return Spec(BATCH_NORMS[inputs.dim()], arguments, tensors, v["input"])


def _layer_norm(node: fx.Node) -> Spec | None:
    v = _values(node)
    shape = [int(one) for one in v["normalized_shape"]]
    if v["weight"] is None and v["bias"] is not None:
        return None
    affine, bias = v["weight"] is not None, v["bias"] is not None
    arguments = {"normalized_shape": shape, "eps": v["eps"], "elementwise_affine": affine, "bias": bias}
    return Spec(nn.LayerNorm, arguments, {"weight": v["weight"], "bias": v["bias"]}, v["input"])


def _group_norm(node: fx.Node) -> Spec | None:
    v = _values(node)
    inputs = _weight(v["input"])
    if inputs is None or (v["weight"] is None) != (v["bias"] is None):
        return None
    arguments = {
        "num_groups": v["num_groups"], "num_channels": int(inputs.shape[1]), "eps": v["eps"],
        "affine": v["weight"] is not None,
    }  # fmt: skip
    return Spec(nn.GroupNorm, arguments, {"weight": v["weight"], "bias": v["bias"]}, v["input"])


def _dropout(kind: type[nn.Module]) -> Callable[[fx.Node], Spec | None]:
    def rule(node: fx.Node) -> Spec | None:
        v = _values(node)
        return None if v["train"] else Spec(kind, {"p": v["p"]}, {}, v["input"])

    return rule


RULES: Mapping[Any, Callable[[fx.Node], Spec | None]] = {
    overload: rule
    for packet, rule in (
        *((getattr(aten, f"conv{n}d"), _convolution) for n in (1, 2, 3)),
        *((getattr(aten, f"conv_transpose{n}d"), _convolution) for n in (1, 2, 3)),
        (aten.convolution, _convolution), (aten.linear, _linear), (aten.matmul, _product), (aten.mm, _product),
        (aten.addmm, _sum_product), (aten.batch_norm, _batch_norm), (aten.layer_norm, _layer_norm),
        (aten.group_norm, _group_norm), (aten.dropout, _dropout(nn.Dropout)),
        (aten.feature_dropout, _dropout(nn.Dropout2d)), (aten.alpha_dropout, _dropout(nn.AlphaDropout)),
    )
    for overload in (getattr(packet, name) for name in packet.overloads())
}  # fmt: skip
