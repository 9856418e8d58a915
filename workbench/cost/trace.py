"""Read a torch module's operations and their shapes by running it on the meta device."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from workbench.cost.fusion import mark_fused
from workbench.cost.kinds import KINDS, MULTIPLE
from workbench.cost.network import Layer, Network, Shape
from workbench.cost.shapes import known
from workbench.errors import BadValue

__all__ = ["mark_fused", "trace"]

aten = torch.ops.aten


def trace(module: nn.Module, example: torch.Tensor) -> Network:
    """The operations of `module` for one `example` of shape (1, ...), without computing anything.

    Raises: `BadValue` when the module does not accept the example's shape.
    """
    was_training = module.training
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    meta = {name: tensor.detach().to("meta") for name, tensor in tensors.items()}
    source = example.to("meta")
    recorder = _Recorder(source, {name: meta[name] for name, _ in module.named_parameters()})
    module.eval()
    try:
        with torch.no_grad(), _module_names(module, recorder), recorder:
            torch.func.functional_call(module, meta, (source,))
    except (RuntimeError, ValueError, TypeError) as error:
        raise BadValue(
            f"The model does not accept an input of shape {tuple(example.shape)}: {error}. "
            "Pass an `example` of the shape that it was trained on, batch first."
        ) from error
    finally:
        module.train(was_training)
    return Network(mark_fused(recorder.layers))


class _Recorder(TorchDispatchMode):
    """Turns every aten call into a `Layer`, named after the innermost module that runs.

    What is computed from the parameters alone is no cost. It is followed, so that every parameter counts
    where it first meets data, and once.
    """

    def __init__(self, example: torch.Tensor, parameters: dict[str, torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it without types
        self.layers: list[Layer] = []
        self.path: list[tuple[str, nn.Module]] = []
        self._names: Counter[str] = Counter()
        self._sizes = {name: tensor.numel() for name, tensor in parameters.items()}
        self._weights = {id(tensor): frozenset({name}) for name, tensor in parameters.items()}
        self._weighed: set[str] = set()  # parameters that have been counted
        self._ids: dict[int, int] = {}  # data tensors
        self._kept: list[torch.Tensor] = []  # keeps the ids of objects unique
        self._count = 0
        self._new_id(example)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch wraps a mode's dispatch to hide it from its compiler, and imports the compiler for that: 3 s."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = func.overloadpacket
        out = known(packet, args)
        out = func(*args, **(kwargs or {})) if out is None else out
        results = list(out) if isinstance(out, (tuple, list)) else [out]
        given = _tensors(args)
        data = [t for t in given if id(t) in self._ids]
        names = frozenset().union(*(self._weights.get(id(t), ()) for t in given))
        for result in results if packet.__name__ in MULTIPLE else results[:1]:
            if not isinstance(result, torch.Tensor):
                continue
            if not data:
                self._follow(result, names)
            elif result.dim() > 0:
                self._record(packet, args, data, names, result)
        return out

    def _record(
        self, packet: Any, args: Any, data: list[torch.Tensor], names: frozenset[str], result: torch.Tensor
    ) -> None:
        kind = KINDS.get(packet, "other")
        if kind == "linear" and len(data) > 1 and not names:
            kind = "matmul"  # a product of two activations
        owner, module = self.path[-1] if self.path else ("", None)
        holds = module is not None and kind not in {"reshape", "copy", "activation"} and _holds_weights(module)
        new = names - self._weighed
        self._weighed |= names
        layer = Layer(
            name=self._name(owner, module, packet, kind),
            kind=kind,
            input=_shape(data[0]),
            output=_shape(result),
            module=owner if holds else "",
            weights=sum(self._sizes[one] for one in new),
            reads=tuple(self._ids[id(t)] for t in data),
            writes=self._new_id(result),
            op=packet.__name__,
            others=sum(t.numel() for t in data[1:]),
            shared=bool(names) and not new,
        )
        self.layers.append(_with_geometry(layer, packet, args))

    def _name(self, owner: str, module: nn.Module | None, packet: Any, kind: str) -> str:
        leaf = module is not None and not any(module.children()) and kind not in {"reshape", "copy"}
        name = owner if leaf else f"{owner}.{packet.__name__}".lstrip(".")
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}#{self._names[name]}"

    def _follow(self, result: torch.Tensor, names: frozenset[str]) -> None:
        """Remember what is computed from weights alone."""
        self._kept.append(result)
        self._weights[id(result)] = names

    def _new_id(self, tensor: torch.Tensor) -> int:
        self._kept.append(tensor)
        self._ids[id(tensor)] = self._count
        self._count += 1
        return self._count - 1


def _with_geometry(layer: Layer, packet: Any, args: Any) -> Layer:
    """Fill in what only the call's arguments tell: kernel, stride, padding, dilation, groups, bias, work."""
    if packet is aten.convolution:
        weight = args[1]
        return layer._replace(
            kind="conv_transpose" if args[6] else "conv",
            kernel=tuple(weight.shape[2:]),
            stride=tuple(args[3]),
            padding=tuple(args[4]),
            dilation=tuple(args[5]),
            groups=args[8],
            bias=args[2] is not None,
        )
    if layer.kind == "linear":
        return layer._replace(bias=packet is aten.addmm or (packet is aten.linear and len(args) > 2))
    if layer.kind == "matmul":
        left, right = [one for one in args if isinstance(one, torch.Tensor)][-2:]
        return layer._replace(work=left.numel() * (right.shape[-1] if right.dim() > 1 else 1))
    return _attention(layer, *args[:3]) if layer.kind == "attention" else layer


def _attention(layer: Layer, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Layer:
    """Queries times keys and scores times values. The exported file keeps the scores: written, read by the
    softmax, written and read again.
    """
    scores = query.shape[:-1].numel() * key.shape[-2]
    return layer._replace(
        work=scores * (query.shape[-1] + value.shape[-1]), others=key.numel() + value.numel() + 4 * scores
    )


@contextlib.contextmanager
def _module_names(module: nn.Module, recorder: _Recorder) -> Iterator[None]:
    """Keep `recorder.path` at the module that is running."""
    handles = []
    for path, child in module.named_modules():
        handles.append(child.register_forward_pre_hook(lambda m, _, p=path: recorder.path.append((p, m))))
        handles.append(child.register_forward_hook(lambda *_: recorder.path.pop() and None))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensors(args: Any) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for arg in args:
        if isinstance(arg, torch.Tensor):
            found.append(arg)
        elif isinstance(arg, (list, tuple)):
            found += _tensors(arg)
    return found


def _shape(tensor: torch.Tensor) -> Shape:
    """The shape without the batch. A first dimension that is not 1 holds heads, windows or tokens and stays."""
    shape = tuple(tensor.shape)
    return shape[1:] if len(shape) > 1 and shape[0] == 1 else shape


def _holds_weights(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None
