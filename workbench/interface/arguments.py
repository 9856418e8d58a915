"""Check the kinds of arguments of public functions by what their signatures say, before any work begins."""

from __future__ import annotations

import ast
import functools
import inspect
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

from workbench.errors import BadValue, shown
from workbench.interface.neutral import neutral

P = ParamSpec("P")
R = TypeVar("R")


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and not math.isnan(value)


#: What an annotation asks for: how an error calls it, and whether a value is one.
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "None": ("None", lambda value: value is None),
    "bool": ("True or False", lambda value: isinstance(value, bool)),
    "int": ("a whole number", lambda value: isinstance(value, Integral) and not isinstance(value, bool)),
    "float": ("a number", lambda value: _is_number(value)),
    "str": ("a text", lambda value: isinstance(value, str)),
    "bytes": ("bytes", lambda value: isinstance(value, bytes)),
    "Path": ("a path", lambda value: isinstance(value, (str, os.PathLike))),
    "Callable": ("a function", callable),
    "Mapping": ("a mapping", lambda value: isinstance(value, Mapping)),
    "Sequence": ("a list", lambda value: isinstance(value, Sequence) and not isinstance(value, (str, bytes))),
    "Iterable": ("a list", lambda value: isinstance(value, Iterable) and not isinstance(value, (str, bytes))),
    "tuple": ("a tuple", lambda value: isinstance(value, (tuple, list))),
}
#: Classes that are known by their names, so that none has to be imported for a check.
_CLASSES = ("DataFrame", "Model", "Recipe", "Reporter", "Step", "Tensor", "TuckerBasis", "Variant", "dtype", "ndarray")
_LIKE = {"list": "Sequence", "dict": "Mapping", "Collection": "Iterable"}


def _named(name: str) -> Callable[[Any], bool]:
    return lambda value: any(one.__name__ == name for one in type(value).__mro__)


_KINDS |= {name: (f"a {name}", _named(name)) for name in _CLASSES}


@dataclass(frozen=True)
class _Kind:
    """One of the kinds that a parameter takes, and of which its entries are, where that is said."""

    name: str
    entries: tuple[_Kind, ...] = ()

    def fits(self, value: Any) -> bool:
        if not _KINDS[self.name][1](value):
            return False
        listed = self.entries and isinstance(value, (list, tuple))
        return not listed or all(any(one.fits(entry) for one in self.entries) for entry in value)

    def __str__(self) -> str:
        inner = f" of which each is {_either(self.entries)}" if self.entries else ""
        return _KINDS[self.name][0] + inner


def check_kinds(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, which raises `BadValue` for an argument of another kind than its annotation says.

    A parameter whose annotation names a kind that is not known here takes anything. Torch is as it starts (`neutral`).
    """
    signature = inspect.signature(function)
    kinds = {one.name: _parsed(one.annotation) for one in signature.parameters.values()}
    several = {one.name for one in signature.parameters.values() if one.kind is one.VAR_POSITIONAL}

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            for one in value if name in several else (value,):
                _check(function, name, one, kinds[name])
        with neutral():
            return function(*args, **kwargs)

    return inner


def _check(function: Callable[..., Any], name: str, value: Any, kinds: tuple[_Kind, ...]) -> None:
    if kinds and not any(one.fits(value) for one in kinds):
        where = function.__qualname__
        raise BadValue(f"{where}({name}={shown(value)}): {name} must be {_either(kinds)}. See help({where}).")


def _either(kinds: tuple[_Kind, ...]) -> str:
    return " or ".join(dict.fromkeys(map(str, kinds)))


def _parsed(annotation: Any) -> tuple[_Kind, ...]:
    """The kinds that an annotation allows; none where it cannot be told."""
    if not isinstance(annotation, str):
        return ()
    found = [_of(one) for one in _alternatives(ast.parse(annotation, mode="eval").body)]
    return tuple(one for one in found if one is not None) if None not in found else ()


def _alternatives(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp):
        return [*_alternatives(node.left), *_alternatives(node.right)]
    return [node]


def _of(node: ast.expr) -> _Kind | None:
    if isinstance(node, ast.Subscript):
        outer = _of(node.value)
        simple = outer is not None and outer.name in {"Sequence", "Iterable"}
        return _Kind(outer.name, _parsed(ast.unparse(node.slice))) if outer is not None and simple else outer
    name = node.attr if isinstance(node, ast.Attribute) else ast.unparse(node)
    name = _LIKE.get(name, name)
    return _Kind(name) if name in _KINDS else None
