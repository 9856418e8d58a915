"""Read a torch module's operations and their shapes by running it on the meta device."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from workbench.cost.network import FUSIBLE, Layer, Network, Shape
from workbench.errors import BadValue

aten = torch.ops.aten

KINDS: dict[Any, str] = {
    aten.convolution: "conv",
    aten.addmm: "linear",
    aten.mm: "linear",
    aten.linear: "linear",
    aten.bmm: "matmul",
    aten.baddbmm: "matmul",
    aten._scaled_dot_product_flash_attention_for_cpu: "attention",
    aten.native_batch_norm: "norm",
    aten._native_batch_norm_legit_no_training: "norm",
    aten._native_batch_norm_legit: "norm",
    aten.native_group_norm: "norm",
    aten.native_layer_norm: "norm",
    aten.max_pool2d_with_indices: "pool",
    aten.avg_pool2d: "pool",
    aten._adaptive_avg_pool2d: "pool",
    aten.avg_pool1d: "pool",
    aten.mean: "pool",
    aten.adaptive_max_pool2d: "pool",
}
KINDS |= {
    getattr(aten, name): "activation"
    for name in (
        "relu relu_ hardtanh hardtanh_ hardswish hardswish_ hardsigmoid hardsigmoid_ sigmoid sigmoid_ silu silu_ "
        "gelu leaky_relu leaky_relu_ elu elu_ tanh prelu _prelu_kernel clamp clamp_ softplus mish"
    ).split()
}
KINDS |= {getattr(aten, name): "add" for name in "add add_ sub mul mul_ div".split()}
KINDS |= {
    getattr(aten, name): "elementwise" for name in "cat _softmax _log_softmax roll constant_pad_nd pow rsqrt".split()
}
KINDS |= {
    getattr(aten, name): "reshape"
    for name in (
        "view _unsafe_view reshape flatten permute transpose t expand slice select squeeze unsqueeze clone alias "
        "detach chunk split unbind contiguous native_dropout dropout split_with_sizes _to_copy"
    ).split()
}


def trace(module: nn.Module, example: torch.Tensor) -> Network:
    """The operations of `module` for one `example` of shape (1, ...), without computing anything.

    Raises: `BadValue` when the module does not accept the example's shape.
    """
    was_training = module.training
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    meta = {name: tensor.detach().to("meta") for name, tensor in tensors.items()}
    source = example.to("meta")
    recorder = _Recorder(source)
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
    """Turns every aten call into a `Layer`, named after the innermost module that runs."""

    def __init__(self, example: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it without types
        self.layers: list[Layer] = []
        self.path: list[tuple[str, nn.Module]] = []
        self._names: Counter[str] = Counter()
        self._weighed: set[str] = set()  # modules whose weights have been counted
        self._ids: dict[int, int] = {}  # data tensors only: what is computed from weights alone is no cost
        self._kept: list[torch.Tensor] = []  # keeps the ids of objects unique
        self._new_id(example)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        results = list(out) if isinstance(out, (tuple, list)) else [out]
        if KINDS.get(func.overloadpacket) != "reshape":
            results = results[:1]  # the rest are indices and statistics; a split gives several data tensors
        for result in results:
            if isinstance(result, torch.Tensor) and result.dim() > 0:
                self._record(func.overloadpacket, args, result)
        return out

    def _record(self, packet: Any, args: Any, result: torch.Tensor) -> None:
        inputs = [t for t in _tensors(args) if id(t) in self._ids]
        if not inputs:
            return
        kind = KINDS.get(packet, "other")
        owner, module = self.path[-1] if self.path else ("", None)
        holds = module is not None and kind not in {"reshape", "activation"} and _holds_weights(module)
        layer = Layer(
            name=self._name(owner, module, packet, kind),
            kind=kind,
            input=_shape(inputs[0], kind),
            output=_shape(result, kind),
            module=owner if holds else "",
            weights=self._weigh(owner, module) if holds and module is not None else 0,
            reads=tuple(self._ids[id(t)] for t in inputs),
            writes=self._new_id(result),
        )
        self.layers.append(_with_geometry(layer, packet, args))

    def _name(self, owner: str, module: nn.Module | None, packet: Any, kind: str) -> str:
        leaf = module is not None and not any(module.children()) and kind != "reshape"
        name = owner if leaf else f"{owner}.{packet.__name__}".lstrip(".")
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}#{self._names[name]}"

    def _weigh(self, owner: str, module: nn.Module) -> int:
        if owner in self._weighed:
            return 0
        self._weighed.add(owner)
        return sum(p.numel() for p in module.parameters(recurse=False))

    def _new_id(self, tensor: torch.Tensor) -> int:
        self._ids[id(tensor)] = len(self._kept)
        self._kept.append(tensor)
        return self._ids[id(tensor)]


def _with_geometry(layer: Layer, packet: Any, args: Any) -> Layer:
    """Fill in what only the call's arguments tell: kernel, stride, padding, dilation, groups, bias."""
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
    return layer


def mark_fused(layers: list[Layer]) -> tuple[Layer, ...]:
    """Norms and activations that follow a convolution or linear layer are folded into it by a runtime."""
    foldable: set[int] = set()
    marked = []
    for layer in layers:
        fused = layer.kind in FUSIBLE and bool(layer.reads) and layer.reads[0] in foldable
        if fused or layer.kind in {"conv", "conv_transpose", "linear"}:
            foldable.add(layer.writes)
        marked.append(layer._replace(fused=fused))
    return tuple(marked)


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


def _shape(tensor: torch.Tensor, kind: str) -> Shape:
    """The shape without the batch; a linear layer over tokens keeps them, (tokens, features)."""
    shape = tuple(tensor.shape)
    if kind == "linear" and len(shape) == 2 and shape[0] > 1:
        return shape
    return shape[1:] if len(shape) > 1 else shape


def _holds_weights(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None
