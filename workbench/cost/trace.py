"""Read a network's operations and their shapes by running a copy of it on the meta device."""

from __future__ import annotations

from collections import Counter
from functools import cache
from math import prod
from typing import Any

import torch
from torch import fx, nn
from torch.utils._python_dispatch import TorchDispatchMode

from workbench.artefact.whole import whole_of
from workbench.cost.fusion import mark_fused
from workbench.cost.kinds import BLANK, KINDS, MULTIPLE, PARTS, REDUCTIONS
from workbench.cost.layer import Layer, Shape, interned
from workbench.cost.network import Network
from workbench.cost.onnx_layers import network_of_file
from workbench.cost.shapes import known
from workbench.cost.whole_calls import Whole
from workbench.errors import BadValue
from workbench.modules.calling import Inputs, arguments, call, flatten, line_of, shapes, tensors_map
from workbench.modules.snapshot import snapshot, to_meta

__all__ = ["mark_fused", "trace"]

aten = torch.ops.aten
Tensor = torch.Tensor


def trace(module: nn.Module, example: Inputs) -> Network:
    """The operations of `module` for one `example`, batches of 1, without computing anything.

    Raises: `BadValue` when the module does not accept the example's shape.
    """
    whole = whole_of(module)
    if whole is not None:
        return network_of_file(whole, module, example)
    private = snapshot(module, meta=True)
    inputs = tensors_map(to_meta, example)
    recorder = _Recorder(inputs, private)
    _listen(private, recorder)
    try:
        with torch.no_grad(), recorder, Whole(recorder):
            outputs = _run(private, inputs, recorder)
    except Exception as error:  # a forward raises anything
        if "meta" in str(error):
            raise BadValue(
                f"The model needs the values of its tensors while it runs{line_of(error)}, and costs are read from "
                "shapes alone. Use torch's operations instead of NumPy, item() and branches on values."
            ) from error
        raise BadValue(
            f"The model does not accept an input of shape {shapes(example)}: {str(error)[:500]}. "
            "Pass an `example` of the shape that it was trained on, batch first."
        ) from error
    results = {recorder.number(one) for one in flatten(outputs)}
    layers = [layer.but(result=layer.writes in results) for layer in recorder.layers]
    return Network(interned(mark_fused(layers)))


def _run(module: nn.Module, inputs: Inputs, recorder: _Recorder) -> Any:
    """Call a network; a graph node by node, so that it is known which operation each comes from."""
    if not isinstance(module, fx.GraphModule):
        return call(module, inputs)
    args, kwargs = arguments(inputs)
    names = [node.target for node in module.graph.nodes if node.op == "placeholder"]
    given = [*args, *(kwargs[str(name)] for name in names[len(args) :])]
    return _Runner(module, recorder).run(*given)


class _Runner(fx.Interpreter):
    """Tells the recorder the node that runs, and the part of the original network that it came from."""

    def __init__(self, module: fx.GraphModule, recorder: _Recorder) -> None:
        super().__init__(module)
        self.recorder = recorder

    def run_node(self, n: fx.Node) -> Any:
        self.recorder.node = n.name
        self.recorder.path.append((str(n.meta.get("owner", "")), None))
        try:
            return super().run_node(n)
        finally:
            self.recorder.path.pop()


class _Recorder(TorchDispatchMode):
    """Turns every aten call into a `Layer`, named after the innermost module that runs.

    What is computed from the parameters alone is no cost. It is followed, so that every parameter counts
    where it first meets data, and once.
    """

    def __init__(self, inputs: Inputs, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it without types
        self.layers: list[Layer] = []
        self.path: list[tuple[str, nn.Module | None]] = []
        self.node = ""  # of a graph, the node that runs
        self.asleep = False  # while what runs is part of an operation that was recorded
        self._names: Counter[str] = Counter()
        self._weights: dict[int, frozenset[str]] = {}
        self._sizes: dict[str, int] = {}
        self._weighed: set[str] = set()  # parameters that have been counted
        self._ids: dict[int, int] = {}  # data tensors
        self._blank: set[int] = set()  # tensors of zeros, such as the first state of a recurrent cell
        self._written: dict[int, int] = {}  # memory that data was written into, and the latest id of what it holds
        self._kept: list[Any] = []  # keeps the ids of objects unique
        self._count = 0
        self._moved: dict[int, Tensor] = {}
        tensors_map(self._new_id, inputs)
        self._know(module)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch wraps a mode's dispatch to hide it from its compiler, and imports the compiler for that: 3 s."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = func.overloadpacket
        kwargs = {**(kwargs or {}), "device": "meta"} if _makes_tensors(func) else kwargs or {}
        if any(not one.is_meta for one in _tensors(args)):
            args = self._to_meta(args)
        out = known(packet, args)
        out = func(*args, **kwargs) if out is None else out
        if self.asleep:
            return out
        results = list(out) if isinstance(out, (tuple, list)) else [out]
        given = _tensors(args)
        data = [t for t in given if self.number(t) is not None]
        for result in results if packet.__name__ in MULTIPLE else results[:1]:
            if isinstance(result, Tensor) and not data:
                names = self._of(given)
                self._follow(result, self._parts(names, result) if packet.__name__ in PARTS else names)
                if packet.__name__ in BLANK or (KINDS.get(packet) == "reshape" and {*map(id, given)} & self._blank):
                    self._blank.add(id(result))
            elif isinstance(result, Tensor) and result.dim() > 0:
                self._record(packet, args, data, result)
        if data and func._schema.is_mutable and isinstance(args[0], Tensor):
            self._written[_memory(args[0])] = self._count - 1
        return out

    def fill(self, args: Any) -> None:
        """Zeros that a layer reads stand for data: no runtime leaves out what it computes from them."""
        for one in _tensors(args):
            if id(one) in self._blank:
                self._blank.discard(id(one))
                self._new_id(one)

    def in_order(self, tensor: Tensor) -> Tensor:
        """The same data in contiguous memory; no operation of the network."""
        number = self.number(tensor)
        if number is None or tensor.is_contiguous():
            return tensor
        self.asleep = True
        try:
            copy = tensor.contiguous()
        finally:
            self.asleep = False
        self._ids[id(copy)] = number
        self._kept.append(copy)
        return copy

    def recurrent(self, op: str, args: Any, out: Any) -> None:
        """One layer for a recurrent network, however many steps it runs."""
        x = args[0]
        matrices = [t for t in _tensors(args[1:]) if t.dim() == 2 and id(t) in self._weights]
        work = prod(x.shape[:-1]) * sum(matrix.numel() for matrix in matrices)
        data = [t for t in _tensors(args) if self.number(t) is not None]
        outputs = [t for t in _tensors([out]) if t.dim()]
        if not data or not outputs:
            return
        layer = self._layer("recurrent", op, _tensors(args), data, outputs[0])
        self.layers.append(layer.but(work=work))
        for state in outputs[1:]:
            self._ids[id(state)] = layer.writes
            self._kept.append(state)

    def _record(self, packet: Any, args: Any, data: list[Tensor], result: Tensor) -> None:
        kind = KINDS.get(packet, "other")
        given = _tensors(args)
        learnt = sum(self._sizes[name] for name in self._of(given))
        if kind == "linear" and not learnt:
            kind = "matmul"  # a product of two activations, or with numbers that are nobody's parameters
        layer = self._layer(kind, packet.__name__, given, data, result)
        self.layers.append(_with_geometry(layer, packet, args))

    def _layer(self, kind: str, op: str, given: list[Tensor], data: list[Tensor], result: Tensor) -> Layer:
        owner, module = self.path[-1] if self.path else ("", None)
        holds = module is not None and kind not in {"reshape", "copy", "activation"} and _holds_weights(module)
        names = self._of(given)
        new = names - self._weighed
        self._weighed |= names
        fixed = [t for t in given if self.number(t) is None and t.numel() > 1]
        return Layer(
            name=self._name(owner, module, op, kind),
            kind=kind,
            input=_shape(data[0]),
            output=_shape(result),
            module=owner if holds else "",
            weights=sum(self._sizes[one] for one in new),
            reads=tuple(n for n in map(self.number, data) if n is not None),
            writes=self._new_id(result),
            op=op,
            others=sum(t.numel() for t in data[1:]),
            shared=bool(names) and not new,
            tied=sum(self._sizes[one] for one in names - new) if new else 0,
            node=self.node,
            fixed=0 if holds else max((t.numel() for t in fixed), default=0),
        )

    def _name(self, owner: str, module: nn.Module | None, op: str, kind: str) -> str:
        leaf = module is not None and not any(module.children()) and kind not in {"reshape", "copy"}
        name = owner if leaf else f"{owner}.{op}".lstrip(".")
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}#{self._names[name]}"

    def _know(self, module: nn.Module) -> None:
        """Remember parameters and buffers by their names; only parameters have a size that counts."""
        counted = {id(one) for one in module.parameters()}
        everything = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
        for name, tensor in everything:
            if id(tensor) not in self._weights:
                self._weights[id(tensor)] = frozenset({name})
                self._sizes[name] = tensor.numel() if id(tensor) in counted else 0
                self._kept.append(tensor)

    def _of(self, tensors: list[Tensor]) -> frozenset[str]:
        """The names of the parameters and buffers that tensors are computed from."""
        return frozenset().union(*(self._weights.get(id(t), frozenset()) for t in tensors))

    def _follow(self, result: Tensor, names: frozenset[str]) -> None:
        """Remember what is computed from weights alone."""
        self._kept.append(result)
        self._weights[id(result)] = names

    def _parts(self, names: frozenset[str], part: Tensor) -> frozenset[str]:
        """A part of a parameter, such as one of three weights that are stored as one, counts by itself."""
        made = {name: f"{name}[{part.storage_offset()}, {tuple(part.shape)}]" for name in names}
        for name, inner in made.items():
            self._sizes[inner] = min(part.numel(), self._sizes[name])
        return frozenset(made.values())

    def number(self, tensor: Tensor) -> int | None:
        """The id of a data tensor: of what was written last into its memory; None for other tensors."""
        own, written = self._ids.get(id(tensor)), self._written.get(_memory(tensor))
        return max((n for n in (own, written) if n is not None), default=None)

    def _new_id(self, tensor: Tensor) -> int:
        self._kept += (tensor, tensor.untyped_storage())
        self._ids[id(tensor)] = self._count
        self._count += 1
        return self._count - 1

    def _to_meta(self, value: Any) -> Any:
        """Numbers that the network made on the CPU, without their values, so that they meet the others."""
        if isinstance(value, (list, tuple)):
            return type(value)(self._to_meta(one) for one in value)
        if not isinstance(value, Tensor) or value.is_meta:
            return value
        if id(value) not in self._moved:
            self._moved[id(value)] = value.to("meta")
            self._kept.append(value)
        return self._moved[id(value)]


def _with_geometry(layer: Layer, packet: Any, args: Any) -> Layer:
    """Fill in what only the call's arguments tell: kernel, stride, padding, dilation, groups, bias, work."""
    if packet is aten.convolution:
        weight = args[1]
        return layer.but(
            kind="conv_transpose" if args[6] else "conv",
            kernel=tuple(weight.shape[2:]),
            stride=tuple(args[3]),
            padding=tuple(args[4]),
            dilation=tuple(args[5]),
            groups=args[8],
            bias=args[2] is not None,
        )
    if layer.kind in {"pool", "elementwise"}:
        return layer.but(axes=_reduced(packet, args))
    if layer.kind == "linear":
        return layer.but(bias=packet is aten.addmm or (packet is aten.linear and len(args) > 2))
    if packet is aten._trilinear:
        return layer.but(kind="matmul", work=args[0].shape[0] * args[1].numel())
    if layer.kind == "matmul":
        left, right = [one for one in args if isinstance(one, Tensor)][-2:]
        return layer.but(work=left.numel() * (right.shape[-1] if right.dim() > 1 else 1))
    return _attention(layer, *args[:3]) if layer.kind == "attention" else layer


def _reduced(packet: Any, args: Any) -> tuple[int, ...]:
    """The axes that an operator takes together: of a mean, a sum, a softmax. The batch in front is not counted."""
    if packet.__name__ not in REDUCTIONS:
        return ()
    count = args[0].dim()
    given = args[1] if len(args) > 1 else None
    axes = range(count) if given is None else [given] if isinstance(given, int) else given
    return tuple(sorted(axis % count - 1 for axis in axes))


def _attention(layer: Layer, query: Tensor, key: Tensor, value: Tensor) -> Layer:
    """Queries times keys and scores times values. The exported file keeps the scores: written, read by the
    softmax, written and read again.
    """
    scores = query.shape[:-1].numel() * key.shape[-2]
    return layer.but(work=scores * (query.shape[-1] + value.shape[-1]), others=key.numel() + value.numel() + 4 * scores)


def _listen(module: nn.Module, recorder: _Recorder) -> None:
    """Keep `recorder.path` at the part of a private network that is running."""
    for path, child in module.named_modules():
        child.register_forward_pre_hook(lambda m, _, p=path: recorder.path.append((p, m)))
        if isinstance(child, nn.Linear) or hasattr(child, "output_padding"):  # a convolution's
            child.register_forward_pre_hook(lambda _, args: recorder.fill(args))
        child.register_forward_hook(lambda *_: recorder.path.pop() and None)


def _memory(tensor: Tensor) -> int:
    """What tells the memory of a tensor and of all its views."""
    return int(tensor.untyped_storage()._cdata)


@cache
def _makes_tensors(func: Any) -> bool:
    """Whether an operator takes a device: its result is to have no values either."""
    return any(one.name == "device" for one in func._schema.arguments)


def _tensors(args: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for arg in args:
        if isinstance(arg, Tensor):
            found.append(arg)
        elif isinstance(arg, (list, tuple)):
            found += _tensors(arg)
    return found


def _shape(tensor: Tensor) -> Shape:
    """The shape without the batch. A first dimension that is not 1 holds heads, windows or tokens and stays."""
    shape = tuple(tensor.shape)
    return shape[1:] if len(shape) > 1 and shape[0] == 1 else shape


def _holds_weights(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None
