"""Controls are made from a step's own description; nothing here knows a technique."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.errors import BadValue
from workbench.steps import REGISTRY
from workbench.steps.base import Setting
from workbench_widgets.controls import controls, parse, shown
from workbench_widgets.store import Problem


def setting(kind: str, default: Any = 0, **more: Any) -> Setting:
    return Setting("name", kind, default, "label", "help", **more)


@pytest.mark.parametrize("name", list(REGISTRY))
def test_every_step_gets_a_control_a_setting_and_reads_back_what_it_shows(name: str) -> None:
    step = REGISTRY[name]()
    made = controls(step, 0, None, ("stem.0",))
    assert [one["name"] for one in made] == [one.name for one in step.settings()]
    for one, spec in zip(made, step.settings(), strict=True):
        assert one["help"]
        if spec.kind != "flag":
            assert parse(spec, one["text"]) == getattr(step, spec.name)
        if one["widget"] == "slider" and spec.kind != "rank":  # a rank may also be a number or a rule
            assert one["low"] <= getattr(step, spec.name) <= one["high"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.5", 0.5), ("16", 16), ("16, 24", (16, 24)), ("evbmf", "evbmf"), ("energy:0.9", "energy:0.9"), (" 1.0 ", 1.0)],
)
def test_a_rank_is_typed_in_any_of_its_forms(text: str, value: object) -> None:
    read = parse(setting("rank"), text)
    assert read == value
    assert type(read) is type(value)  # 1 is a rank, 1.0 a fraction


def test_a_slider_at_its_end_is_a_fraction_not_the_rank_one() -> None:
    assert isinstance(parse(setting("rank"), 1), float)


def test_layers_are_names_or_globs() -> None:
    assert parse(setting("layers"), "*") == "*"
    assert parse(setting("layers"), "stem.0, blocks.*") == ("stem.0", "blocks.*")


def test_words_where_a_number_belongs_are_refused_with_a_sentence() -> None:
    with pytest.raises(BadValue, match="'many', which is not a whole number"):
        parse(setting("integer"), "many")
    assert parse(setting("integer"), "3") == 3


def test_a_number_without_bounds_has_no_slider() -> None:
    class Fake:
        name = 3

        def settings(self) -> tuple[Setting, ...]:
            return (setting("integer", low=1),)

    assert controls(Fake(), 0, None, ())[0]["widget"] == "text"  # type: ignore[arg-type]


def test_a_problem_shows_what_was_typed_at_its_own_control_only() -> None:
    step = REGISTRY["Prune"]()
    first, *others = controls(step, 1, Problem(1, "ratio", "50", "too much"), ())
    assert (first["text"], first["problem"]) == ("50", "too much")
    assert not any(one["problem"] for one in others)
    assert controls(step, 0, Problem(1, "ratio", "50", "too much"), ())[0]["text"] == shown(step.ratio)  # type: ignore[attr-defined]
