"""The settings of steps: how a field describes itself, what values it takes, which layers a pattern names."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

from workbench.errors import BadValue, shown, unknown

if TYPE_CHECKING:
    from workbench.cost.network import Network

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


class Described:
    """The base of frozen dataclasses whose every field describes itself and is checked against that."""

    title: ClassVar[str] = ""
    summary: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for spec in self.settings():
            value = getattr(self, spec.name)
            if isinstance(value, list):  # a step is hashable
                value = tuple(value)
                object.__setattr__(self, spec.name, value)
            check(type(self).__name__, spec, value)

    @classmethod
    @cache
    def settings(cls) -> tuple[Setting, ...]:
        """The description of every field: a technique's own first, then those that its kind has in common."""
        own = fields(cls)  # type: ignore[arg-type]  # every concrete step is a dataclass
        return tuple(
            Setting(name=f.name, default=f.default, **{"label": f.name.replace("_", " "), **f.metadata["setting"]})
            for f in sorted(own, key=lambda f: f.kw_only is True)
        )

    def stops(self, network: Network) -> Mapping[str, Stops]:
        """What the sliders of settings stop at on this network, where that follows from it; of all others nothing."""
        return {}

    def settings_on(self, network: Network) -> tuple[Setting, ...]:
        """`settings`, with the sliders as they suit a network."""
        own = self.stops(network)
        return tuple(replace(one, stops=own.get(one.name, one.stops)) for one in self.settings())

    def leaving_out(self, names: Sequence[str], known: Iterable[str]) -> Self | None:
        """The same, leaving these of the `known` layers alone; None where no setting says which layers are meant."""
        kinds = {spec.name: spec.kind for spec in self.settings()}
        if kinds.get("layers") == "layers":
            return self._with("layers", [*_listed(getattr(self, "layers")), *(f"!{name}" for name in names)])  # noqa: B009
        if "exclude" in kinds:  # a layer named there may be gone with an earlier step
            given = [one for one in _listed(getattr(self, "exclude")) if matching(one, known)]  # noqa: B009
            return self._with("exclude", [*given, *names])
        return None

    def _with(self, name: str, values: Sequence[str]) -> Self:
        return replace(self, **{name: tuple(values)})  # type: ignore[type-var]  # every step is a dataclass

    def options(self) -> dict[str, Any]:
        """The settings that differ from their defaults."""
        return {s.name: getattr(self, s.name) for s in self.settings() if getattr(self, s.name) != s.default}

    @property
    def brief(self) -> str:
        """A few characters for a chart or a table, such as `Tucker 0.5`."""
        first = [_short(getattr(self, s.name)) for s in self.settings() if s.kind != "layers"][:1]
        return " ".join([type(self).__name__, *first])

    def expression(self) -> str:
        """What makes this step in Python, such as `wb.Tucker(rank=0.5)`."""
        return f"wb.{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.options().items())})"


def _short(value: object) -> str:
    """A value in a few characters: of one that differs from layer to layer, for how many."""
    if not isinstance(value, Mapping):
        return str(value)
    return f"on {len(value)} layer{'s' * (len(value) != 1)}"


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
    elif spec.kind == "text":
        _check_text(where, spec, value)


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


def _check_text(where: str, spec: Setting, value: object) -> None:
    if not all(isinstance(one, str) for one in (value if isinstance(value, tuple) else [value])):
        raise BadValue(f"{where}: {spec.label} must be a text, or a list of texts.")


def _check_layers(where: str, value: object) -> None:
    many = isinstance(value, Sequence) and all(isinstance(one, str) and one for one in value)
    if not many or not value:
        raise BadValue(f"{where}: layers must be a name, a glob such as 'blocks.*', or a list of these.")


def _listed(value: Layers) -> list[str]:
    """Patterns given as one text, with commas, or as a list."""
    given = value.split(",") if isinstance(value, str) else value
    return [one.strip() for one in given if one.strip()]
