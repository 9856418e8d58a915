"""Names of parts that cannot stand in a graph: Python's own words, those that a graph module has, quotes."""

from __future__ import annotations

import keyword
from typing import Any

from torch import fx, nn

_HELD = ("_modules", "_parameters", "_buffers")


def sound_names(module: nn.Module) -> nn.Module:
    """A private network with its parts renamed where torch could not write their names into a graph's code.

    `class` becomes `class_`; the network's own code still finds them under the names that it knows.
    """
    for one in module.modules():
        for held in _HELD:
            names = vars(one)[held]
            changed = {name: _sound(name, top=one is module) for name in names}
            if any(old != new for old, new in changed.items()) and len(set(changed.values())) == len(names):
                vars(one)[held] = _Renamed({changed[name]: part for name, part in names.items()}, changed)
    return module


def _sound(name: str, *, top: bool) -> str:
    kept = "".join(c if c.isprintable() and c not in "\"'\\" else "_" for c in name)
    taken = keyword.iskeyword(kept) or kept == "self" or (top and hasattr(fx.GraphModule, kept))
    return f"{kept}_" if taken else kept


class _Renamed(dict[str, Any]):
    """A dictionary that also answers to the names that its keys had."""

    def __init__(self, parts: dict[str, Any], names: dict[str, str]) -> None:
        super().__init__(parts)
        self.names = names

    def __missing__(self, key: str) -> Any:
        return dict.__getitem__(self, self.names[key])

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self, key) or key in self.names
