"""A private copy of a network: what the workbench runs, traces and rewrites, so that the user's own stays untouched."""

from __future__ import annotations

import contextlib
import copy
import copyreg
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from workbench.modules.closures import rebind

Tensor = torch.Tensor


def snapshot(module: nn.Module, *, meta: bool = False) -> nn.Module:
    """A copy in evaluation mode on the CPU, floating-point numbers in float32; with `meta` without values.

    Parameters that two layers share are shared in the copy. What cannot be copied, such as a lock, is shared with
    the original; tensors that the network keeps of an earlier run are detached. With `meta` no weight is read.
    """
    convert = to_meta if meta else _to_float32
    memo: dict[int, Any] = {}
    module = unwrapped(module)
    keep: list[Any] = []  # memo goes by identity, so what is in it must live
    for tensor in _tensors(module):
        if id(tensor) not in memo:
            memo[id(tensor)] = _converted(tensor, convert)
            keep.append(tensor)
    copied = dict(memo)
    try:
        made = copy.deepcopy(module, copied)
    except Exception:  # noqa: BLE001  # copying runs whatever the user's classes define
        _share_uncopyable(module, memo, keep)
        copied = memo
        made = copy.deepcopy(module, copied)
    for one in module.modules():
        _fill_slots(one, copied)
    _unwrap_parts(made)
    rebind(made, copied)
    made.eval()
    return made


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside `torch.compile` and `DataParallel`; any other as it is."""
    inner = module._modules.get("_orig_mod") if type(module).__name__ == "OptimizedModule" else None
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner = module.module
    return module if inner is None else unwrapped(inner)


def _unwrap_parts(module: nn.Module) -> None:
    """The same for every part of a private copy. Nested tensors, which hold no plain shapes, are switched off."""
    for one in list(module.modules()):
        vars(one).pop("_compiled_call_impl", None)
        if isinstance(one, nn.TransformerEncoder):
            one.enable_nested_tensor = one.use_nested_tensor = False
        for name, part in one._modules.items():
            if part is not None:
                one._modules[name] = unwrapped(part)


def to_meta(tensor: Tensor) -> Tensor:
    """A tensor of the same shape without values; floating-point numbers as float32."""
    kind = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=kind, device="meta")


def _to_float32(tensor: Tensor) -> Tensor:
    kind = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", kind, copy=True, memory_format=torch.contiguous_format)


def _converted(tensor: Tensor, convert: Callable[[Tensor], Tensor]) -> Tensor:
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(convert(tensor.detach()), requires_grad=tensor.requires_grad)
    return convert(tensor)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    """Parameters, buffers, and tensors that are plain attributes, also in lists, tuples and dictionaries."""
    for one in module.modules():
        held = (*one._parameters.values(), *one._buffers.values())
        yield from (tensor for tensor in held if tensor is not None)
        for name, value in vars(one).items():
            if name not in {"_parameters", "_buffers", "_modules"}:
                yield from _inside(value)
        for _, value in _slots(one):
            yield from _inside(value)


def _slots(module: nn.Module) -> Iterator[tuple[Any, Any]]:
    """What a class keeps in `__slots__`, which torch's own way to copy a module leaves out: descriptors and values."""
    for name in copyreg._slotnames(type(module)):  # type: ignore[attr-defined]  # as `copy` itself finds them
        descriptor = inspect.getattr_static(type(module), name)
        with contextlib.suppress(AttributeError):  # nothing was put there
            yield descriptor, descriptor.__get__(module)


def _fill_slots(module: nn.Module, copied: dict[int, Any]) -> None:
    """Give the copy of a module what the module has in its slots; what cannot be copied is shared."""
    made = copied.get(id(module))
    for descriptor, value in _slots(module) if made is not None else ():
        descriptor.__set__(made, value)
        with contextlib.suppress(Exception):  # copying runs whatever the user's classes define
            descriptor.__set__(made, copy.deepcopy(value, copied))


def _inside(value: Any, depth: int = 3) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)) and depth:
        for one in value:
            yield from _inside(one, depth - 1)
    elif isinstance(value, dict) and depth:
        for one in value.values():
            yield from _inside(one, depth - 1)


def _share_uncopyable(module: nn.Module, memo: dict[int, Any], keep: list[Any]) -> None:
    """Put into `memo` every attribute that cannot be copied, as itself."""
    for one in module.modules():
        for name, value in vars(one).items():
            if name in {"_parameters", "_buffers", "_modules"}:
                continue
            try:
                copy.deepcopy(value, dict(memo))
            except Exception:  # noqa: BLE001  # as above
                memo[id(value)] = value
                keep.append(value)
