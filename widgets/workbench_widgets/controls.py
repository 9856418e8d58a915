"""From a step's description of a setting to the control that edits it, and back from what was typed."""

from __future__ import annotations

import ast
import re
from typing import Any

from workbench.cost.network import Network
from workbench.errors import BadValue
from workbench.step import Setting, Step
from workbench_widgets.seam.recipe_view import Control, Track, Widget
from workbench_widgets.store import Problem

#: How finely a slider moves, by kind.
_GRAIN = {"rank": 0.01, "fraction": 0.01, "integer": 1.0}
_RANK_LOW, _RANK_HIGH = 0.05, 1.0
#: The kinds with a control of their own.
_OWN: dict[str, Widget] = {"choice": "choice", "flag": "flag"}
#: A rank may be a rule with a share in it, such as `energy:0.9`: then the slider moves the share.
_RULE = re.compile(r"([a-z]+:)[\d.]+")


def controls(step: Step, index: int, problem: Problem | None, network: Network | None) -> list[Control]:
    """The controls of a step, in the order of its settings; on a network the sliders are as it suits."""
    layers = tuple(network.by_module) if network else ()
    return [_control(step, index, setting, problem, layers) for setting in described(step, network)]


def described(step: Step, network: Network | None) -> tuple[Setting, ...]:
    """A step's settings, with the sliders as they suit a network, where one is there."""
    return step.settings() if network is None else step.settings_on(network)


def _control(step: Step, index: int, setting: Setting, problem: Problem | None, layers: tuple[str, ...]) -> Control:
    value = getattr(step, setting.name)
    wrong = problem if problem is not None and (problem.step, problem.setting) == (index, setting.name) else None
    return {
        "name": setting.name,
        "label": setting.label,
        "help": setting.help,
        "widget": _widget(setting),
        "text": wrong.text if wrong else shown(value),
        "value": value if isinstance(value, bool) else None,
        "problem": wrong.sentence if wrong else "",
        **_slider(setting, value),
        "unit": setting.unit,
        "free": setting.kind == "rank",
        "choices": list(setting.choices),
        "suggestions": ["*", *layers] if setting.kind == "layers" else [],
    }


def _slider(setting: Setting, value: object) -> Track:
    """The ends and the grain of a slider, or what it stops at; what stands before the number that it moves."""
    rule = _RULE.fullmatch(value) if isinstance(value, str) and setting.kind == "rank" else None
    if rule:
        return Track(low=_RANK_LOW, high=_RANK_HIGH, step=_GRAIN["rank"], stops=[], prefix=rule.group(1))
    if isinstance(setting.stops, range):
        first, last = min(setting.stops, default=None), max(setting.stops, default=None)
        return Track(low=first, high=last, step=1.0, stops=[], prefix="")
    low, high = bounds(setting)
    return Track(low=low, high=high, step=_grain(setting), stops=list(setting.stops or ()), prefix="")


def bounds(setting: Setting) -> tuple[float | None, float | None]:
    """The ends of a slider. A rank's slider is its fraction of the full rank."""
    if setting.kind == "rank":
        return setting.low or _RANK_LOW, setting.high or _RANK_HIGH
    return setting.low, setting.high


def _widget(setting: Setting) -> Widget:
    if setting.kind in _OWN:
        return _OWN[setting.kind]
    if setting.stops is not None and len(setting.stops) < 2:
        return "text"
    if setting.kind == "rank" or (setting.kind in {"fraction", "integer", "number"} and None not in bounds(setting)):
        return "slider"
    return "text"


def _grain(setting: Setting) -> float:
    low, high = bounds(setting)
    if setting.kind in _GRAIN or low is None or high is None:
        return _GRAIN.get(setting.kind, 1.0)
    return (high - low) / 100


def shown(value: object) -> str:
    """A setting's value as it is typed: `0.5`, `16, 24`, `evbmf`."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value)


def parse(setting: Setting, value: object) -> Any:
    """What a control sent, as the step takes it. Raises `BadValue` for a number that cannot be read."""
    if setting.kind == "flag" or setting.kind in {"choice", "text"}:
        return value
    if isinstance(value, (int, float)):  # a slider
        return int(value) if setting.counts else round(float(value), 10)
    text = str(value).strip()
    if setting.kind == "layers":
        names = tuple(name.strip() for name in text.split(",") if name.strip())
        return names[0] if len(names) == 1 else names
    if setting.kind == "rank":
        return _rank(text)
    return _number(setting, text)


def _rank(text: str) -> Any:
    """A number, a tuple of numbers or a mapping where it reads like one; else the text, such as `evbmf`."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _number(setting: Setting, text: str) -> float:
    try:
        return int(text) if setting.kind == "integer" else float(text)
    except ValueError:
        kind = "a whole number" if setting.kind == "integer" else "a number"
        raise BadValue(
            f"{setting.label.capitalize()} is {text!r}, which is not {kind}. Write it with digits."
        ) from None
