"""Functions that a network carries, such as hooks and a forward of its own, made to work on a copy of it.

`copy.deepcopy` keeps functions as they are, so one that was defined beside the user's module goes on working on that.
"""

from __future__ import annotations

import copy
from types import CellType, FunctionType, MethodType
from typing import Any

from torch import nn


def rebind(module: nn.Module, copied: dict[int, Any]) -> None:
    """Give every function that `module`, a copy, carries the copies of what it refers to.

    `copied`: the memo of `copy.deepcopy`, which holds the copies by the ids of what they are copies of.
    """
    for one in module.modules():
        for name, value in vars(one).items():
            if name.endswith("_hooks") and isinstance(value, dict):
                for key, hook in value.items():
                    value[key] = _bound(hook, copied)
            elif isinstance(value, (FunctionType, MethodType)):
                vars(one)[name] = _bound(value, copied)


def _bound(function: Any, copied: dict[int, Any]) -> Any:
    """The function with copies in its closure. What cannot be copied stays; a method is one of a copy already."""
    if isinstance(function, MethodType):
        return MethodType(_bound(function.__func__, copied), function.__self__)
    if not isinstance(function, FunctionType) or not function.__closure__:
        return function
    if id(function) in copied:
        return copied[id(function)]
    cells = tuple(CellType() for _ in function.__closure__)
    made = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, cells)
    made.__kwdefaults__ = function.__kwdefaults__
    copied[id(function)] = made  # a function may refer to itself
    for new, old in zip(cells, function.__closure__, strict=True):
        try:
            new.cell_contents = _copy(old.cell_contents, copied)
        except ValueError:  # an empty one
            continue
    return made


def _copy(value: Any, copied: dict[int, Any]) -> Any:
    if isinstance(value, FunctionType):
        return _bound(value, copied)
    if isinstance(value, MethodType):
        return MethodType(_bound(value.__func__, copied), _copy(value.__self__, copied))
    try:
        return copy.deepcopy(value, copied)
    except Exception:  # noqa: BLE001  # copying runs whatever the user's classes define
        return value
