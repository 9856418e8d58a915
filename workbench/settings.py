"""The settings of steps: how a field describes itself, what values it takes, which layers a pattern names."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.errors import BadValue, shown, unknown

Layers = str | tuple[str, ...]
#: Values in rising order.
Stops = range | tuple[float, ...]


@dataclass(frozen=True)
class Setting:
    """How a field of a step is shown and checked. `low` and `high` are inclusive; `kind` names its control."""

    name: str
    kind: str  # rank, fraction, integer, number, choice, flag, layers, text
    default: Any
    label: str
    help: str
    low: float | None = None
    high: float | None = None
    unit: str = ""
    choices: tuple[str, ...] = ()
    stops: Stops | None = None  # of its slider, where they are not evenly from `low` to `high`; others can be typed

    @property
    def counts(self) -> bool:
        """Whether its slider stops at whole numbers alone: of a rank these are numbers, not shares."""
        return self.kind == "integer" or (bool(self.stops) and all(isinstance(one, int) for one in self.stops or ()))


def setting(default: Any, kind: str, help: str, **more: Any) -> Any:  # noqa: A002  # the word that users see
    """A dataclass field that describes itself; `more` are fields of `Setting`."""
    return field(default=default, metadata={"setting": {"kind": kind, "help": help, **more}})


def decades(low: float, high: float) -> tuple[float, ...]:
    """Six steps to each power of ten, as on a logarithmic scale: 1, 1.5, 2, 3, 5, 7, 10; whole between whole ends."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [float(f"{digit}e{power}") for power in powers for digit in (1, 1.5, 2, 3, 5, 7)]
    within = [one for one in found if low <= one <= high]
    whole = isinstance(low, int) and isinstance(high, int)
    return tuple(int(one) for one in within if one == int(one)) if whole else tuple(within)


def doublings(low: int, high: int) -> tuple[int, ...]:
    """`low`, twice as much, and so on up to `high`."""
    return tuple(low << n for n in range((high // low).bit_length()))


def layers_setting() -> Any:
    """The field `layers`, which every step that works on single layers has."""
    return setting(
        "*",
        "layers",
        "Names of the layers to treat: a name, a glob such as 'blocks.*', or a list; '!name' leaves a layer out.",
    )


def select(pattern: Layers, names: Iterable[str]) -> tuple[str, ...]:
    """The names that match a name, a glob or a list of these, in the order of `names`.

    A pattern that starts with "!" takes out what it matches; of such patterns alone, the rest is chosen. A name
    that exists means itself, whatever it means as a glob: `conv[0]`.

    Raises: `UnknownName` for a pattern that matches nothing, other than "*".
    """
    patterns = (pattern,) if isinstance(pattern, str) else pattern
    if not isinstance(patterns, (tuple, list)) or not all(isinstance(one, str) for one in patterns):
        raise BadValue(f"layers={shown(pattern)}: they are a name, a glob such as 'blocks.*', or a list of these.")
    known = list(names)
    taken, out = set[str](), set[str]()
    for one in patterns:
        leaves_out = one.startswith("!") and one not in known
        found = matching(one[1:] if leaves_out else one, known)
        if not found and one != "*":
            raise unknown("layer", one[1:] if leaves_out else one, known)
        (out if leaves_out else taken).update(found)
    everything = all(one.startswith("!") and one not in known for one in patterns)
    return tuple(name for name in known if (everything or name in taken) and name not in out)


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a pattern means: the one that it is, those inside the part that it is, or those it globs."""
    known = list(names)
    if pattern in known:
        return [pattern]
    inside = [name for name in known if name.startswith(f"{pattern}.")]
    return inside or [name for name in known if fnmatch.fnmatchcase(name, pattern)]


def check(step: str, spec: Setting, value: object) -> None:
    """Raise `BadValue` when a setting is of the wrong type or out of its bounds."""
    where = f"{step}({spec.name}={value!r})"
    if spec.kind == "choice":
        if value not in spec.choices:
            raise BadValue(f"{where}: {spec.label} must be one of {', '.join(map(repr, spec.choices))}.")
    elif spec.kind == "flag":
        if not isinstance(value, bool):
            raise BadValue(f"{where}: {spec.label} must be True or False.")
    elif spec.kind in {"fraction", "integer", "number"}:
        _check_number(where, spec, value)
    elif spec.kind == "layers":
        _check_layers(where, value)


def _check_number(where: str, spec: Setting, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise BadValue(f"{where}: {spec.label} must be a number.")
    if spec.kind == "integer" and not isinstance(value, int):
        raise BadValue(f"{where}: {spec.label} must be a whole number.")
    low = float("-inf") if spec.low is None else spec.low
    high = float("inf") if spec.high is None else spec.high
    if not low <= value <= high:
        percent = f" For {value:g} % write {value / 100:g}." if spec.kind == "fraction" and 1 < value <= 100 else ""
        raise BadValue(f"{where}: {spec.label} must lie between {low:g} and {high:g}.{percent}")


def _check_layers(where: str, value: object) -> None:
    many = isinstance(value, Sequence) and all(isinstance(one, str) and one for one in value)
    if not many or not value:
        raise BadValue(f"{where}: layers must be a name, a glob such as 'blocks.*', or a list of these.")
