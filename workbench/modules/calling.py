"""How a network is called and what it gives back: inputs and outputs may be nested containers of tensors.

Everything that runs a network on inputs, or compares two networks, does it through these functions.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.utils._pytree import tree_flatten, tree_map

from workbench.errors import BadValue

#: One tensor for a network of one input; a tuple of positional inputs; a mapping of named ones.
Inputs = torch.Tensor | tuple[Any, ...] | Mapping[str, Any]


def call(module: Callable[..., Any], inputs: Inputs) -> Any:
    """What `module` gives for `inputs`, however these are handed over."""
    args, kwargs = arguments(inputs)
    return module(*args, **kwargs)


def arguments(inputs: Inputs) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and the named arguments of a call with these inputs."""
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (inputs, {}) if isinstance(inputs, tuple) else ((inputs,), {})


def flatten(outputs: Any) -> list[torch.Tensor]:
    """Every tensor of a nested output, in order: of tuples, lists, mappings and objects with attributes."""
    leaves = tree_flatten(plain(outputs))[0]
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


def first(outputs: Any) -> torch.Tensor:
    """The tensor that stands for the output: the first that holds floating-point numbers, or else the first.

    Raises: `TypeError` for outputs without a tensor.
    """
    tensors = flatten(outputs)
    if not tensors:
        raise TypeError(f"a {type(outputs).__name__} without a tensor")
    return next((one for one in tensors if one.is_floating_point()), tensors[0])


def answer(module: Callable[..., Any], inputs: Inputs) -> torch.Tensor:
    """The tensor that stands for what a network gives for inputs: its scores, or its map."""
    return first(call(module, inputs))


def plain(outputs: Any) -> Any:
    """The same nested output of tuples, lists and dictionaries alone."""
    if isinstance(outputs, Mapping):
        return {str(key): plain(value) for key, value in outputs.items()}
    if isinstance(outputs, (tuple, list)):
        kind = list if isinstance(outputs, list) else tuple
        return kind(plain(value) for value in outputs)
    if isinstance(outputs, torch.Tensor) or not hasattr(outputs, "__dict__"):
        return outputs
    held = {name: value for name, value in vars(outputs).items() if not name.startswith("_")}
    return plain(held) if flatten(held) else outputs


def tensors_map(function: Callable[[torch.Tensor], Any], inputs: Any) -> Any:
    """The same containers with `function` of each tensor in its place."""
    return tree_map(lambda one: function(one) if isinstance(one, torch.Tensor) else one, inputs)


def copied(inputs: Inputs) -> Inputs:
    """The same inputs in memory of their own: a network may write into what it is given."""
    return cast("Inputs", tensors_map(torch.clone, inputs))


def noise_like(inputs: Inputs, seed: int = 0) -> Inputs:
    """Standard normal numbers in the shapes of inputs; whole numbers stay what they are."""
    generator = torch.Generator().manual_seed(seed)

    def one(value: torch.Tensor) -> torch.Tensor:
        return torch.randn(value.shape, generator=generator) if value.is_floating_point() else value.clone()

    return cast("Inputs", tensors_map(one, inputs))


def shapes(inputs: Inputs) -> str:
    """The shapes of inputs in a few words, such as `(1, 3, 8, 8)` or `x (1, 4), y (1, 2)`."""
    args, kwargs = arguments(inputs)
    found = [_shapes(one) for one in args] + [f"{name} {_shapes(one)}" for name, one in kwargs.items()]
    return ", ".join(found)


def _shapes(value: Any) -> str:
    tensors = flatten(value)
    return ", ".join(str(tuple(one.shape)) for one in tensors) or type(value).__name__


def as_example(given: Any) -> Inputs:
    """One input with a batch of 1, from what a user hands over: tensors, arrays, a shape, or containers of these.

    Floating-point numbers become float32, on the CPU; whole numbers, such as token ids, stay what they are.
    Raises: `BadValue` for anything else, and for tensors without a batch of 1 in front.
    """
    if given is None:
        raise BadValue("A network given as an nn.Module needs example=, one input with a batch of 1.")
    if isinstance(given, (tuple, list, torch.Size)) and given and all(type(one) is int for one in given):
        made: Any = torch.zeros(tuple(given)) if min(given) > 0 else given
    else:
        made = tree_map(_as_tensor, tuple(given) if isinstance(given, list) else given)
    found = flatten(made) if isinstance(made, (torch.Tensor, tuple, Mapping)) else []
    other = [one for one in tree_flatten(made)[0] if not isinstance(one, torch.Tensor)]
    if not found or other:
        if found:
            raise BadValue(
                f"The example holds {_brief(other[0])}, which is no tensor, and only tensors can change from one input "
                "to the next. Leave it out where the network's forward has it as a default; where not, wrap the "
                "network in a module of the tensors alone, whose forward passes it on."
            )
        raise BadValue(
            f"example={_brief(given)} is no input. Pass a tensor or an array with a batch of 1 in front, its shape, "
            "such as (1, 3, 224, 224), or a tuple or dictionary of tensors for a network of several inputs."
        )
    wrong = next((one for one in found if one.dim() < 2 or one.shape[0] != 1), None)
    if wrong is not None:
        raise BadValue(f"example has shape {tuple(wrong.shape)}; it must be one input with a batch of 1 in front.")
    return cast("Inputs", made)


def _as_tensor(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype != object:
        value = torch.from_numpy(np.array(value))
    if not isinstance(value, torch.Tensor):
        return value
    value = value.detach()
    return value.to("cpu", torch.float32, copy=True) if value.is_floating_point() else value.cpu().clone()


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:60]}... (a {type(value).__name__})"


#: Where code lies that is nobody's network.
_OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]), "<")
_PYTHON = str(Path(traceback.__file__).parent)


def line_of(error: BaseException) -> str:
    """The line of a network's own code that an error comes from, in brackets; "" where none is known."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if _is_users(one.filename)]
    if not frames:
        return ""
    last = frames[-1]
    return f" (line {last.lineno} of {Path(last.filename).name}{f': {last.line}' if last.line else ''})"


def _is_users(file: str) -> bool:
    inside = file.startswith(_PYTHON) and not {"site-packages", "dist-packages"} & {*Path(file).parts}
    return not inside and not file.startswith(_OURS)
