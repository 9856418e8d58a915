"""Controls are made from a step's own description; nothing here knows a technique."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from tiny import tiny_model
from torch import nn

import workbench as wb
from workbench.errors import BadValue
from workbench.models import Model
from workbench.settings import decades, doublings
from workbench.step import Setting, Step
from workbench.steps import REGISTRY
from workbench_widgets.controls import controls, described, parse, shown
from workbench_widgets.store import Problem


def setting(kind: str, default: Any = 0, **more: Any) -> Setting:
    return Setting("name", kind, default, "label", "help", **more)


@pytest.mark.parametrize("name", list(REGISTRY))
def test_every_step_gets_a_control_a_setting_and_reads_back_what_it_shows(name: str) -> None:
    step = REGISTRY[name]()
    made = controls(step, 0, None, None)
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

    assert controls(Fake(), 0, None, None)[0]["widget"] == "text"  # type: ignore[arg-type]


def test_a_problem_shows_what_was_typed_at_its_own_control_only() -> None:
    step = REGISTRY["Prune"]()
    first, *others = controls(step, 1, Problem(1, "ratio", "50", "too much"), None)
    assert (first["text"], first["problem"]) == ("50", "too much")
    assert not any(one["problem"] for one in others)
    assert controls(step, 0, Problem(1, "ratio", "50", "too much"), None)[0]["text"] == shown(step.ratio)  # type: ignore[attr-defined]


def slider(step: Step, name: str, model: Model) -> dict[str, Any]:
    return next(one for one in controls(step, 0, None, model.network) if one["name"] == name)


def described_by(step: Step, name: str, model: Model) -> Setting:
    return next(one for one in described(step, model.network) if one.name == name)


class Blocks(nn.Module):
    """Two residual blocks of 12 channels, on images of 20 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 12, 5, padding=2), nn.Linear(12, 5)
        self.one, self.two = Residual(), Residual()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.two(self.one(torch.relu(self.stem(x)))).mean((2, 3)))
        return logits


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(12, 12, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.relu(self.conv(x))


@pytest.fixture(scope="module")
def blocks() -> Model:
    return wb.load(Blocks(), example=torch.zeros(1, 3, 20, 20))


def test_sliders_follow_from_the_model(blocks: Model) -> None:
    assert slider(wb.Grouped(), "groups", blocks)["stops"] == [2, 3, 4, 6, 12]  # what divides 12, or 3 and 12
    terms = slider(wb.Separable(), "terms", blocks)
    assert (terms["low"], terms["high"], terms["step"]) == (1, 12, 1)  # 5 x 5 = 25 taps, but 12 outputs
    size = slider(wb.Resolution(), "size", blocks)
    assert (size["low"], size["high"]) == (4, 19)
    count = slider(wb.DropBlocks(), "count", blocks)
    assert (count["low"], count["high"]) == (1, 2)
    keep = slider(wb.PruneNM(n=2, m=8), "n", blocks)
    assert (keep["low"], keep["high"]) == (1, 7)


def test_a_setting_with_one_value_or_none_on_this_model_has_no_slider(blocks: Model) -> None:
    assert slider(wb.DropBlocks(), "count", tiny_model())["widget"] == "text"  # it has no block of its own
    assert slider(wb.DropBlocks(), "count", blocks)["widget"] == "slider"


def test_a_slider_of_counts_gives_counts_and_one_of_shares_shares(blocks: Model) -> None:
    groups, rank = described_by(wb.Grouped(), "groups", blocks), described_by(wb.SVD(), "rank", blocks)
    assert type(parse(groups, 4)) is int and type(parse(described_by(wb.Separable(), "terms", blocks), 1)) is int
    assert type(parse(rank, 1)) is float


@pytest.mark.parametrize("name", list(REGISTRY))
def test_every_stop_of_every_slider_is_a_value_that_works(name: str, blocks: Model) -> None:
    step = wb.PruneChannels(ratio=0.3) if name == "PruneChannels" else REGISTRY[name]()  # a budget may be too small
    for one in described(step, blocks.network):
        for value in one.stops or ():
            changed = replace(step, **{one.name: parse(one, value)})
            changed.plan(blocks)
        if one.stops and one.kind in {"integer", "number", "fraction"}:
            assert one.low <= min(one.stops) and max(one.stops) <= one.high


@pytest.mark.parametrize(("step", "name"), [(wb.Finetune(), "lr"), (wb.QAT(), "rate"), (wb.ShareWeights(), "lr")])
def test_learning_rates_move_by_like_factors(step: Step, name: str, blocks: Model) -> None:
    stops = slider(step, name, blocks)["stops"]
    assert getattr(step, name) in stops
    assert all(1 < after / before <= 2 for before, after in pairwise(stops))


def test_the_default_of_every_step_lies_on_its_slider(blocks: Model) -> None:
    for kind in REGISTRY.values():
        step = kind()
        for one in controls(step, 0, None, blocks.network):
            value = getattr(step, one["name"])
            number = value.partition(":")[2] if isinstance(value, str) and one["prefix"] else value
            if one["widget"] != "slider" or (kind, one["name"]) == (wb.Resolution, "size"):  # 20 of 20 pixels
                continue
            low, high = (min(one["stops"]), max(one["stops"])) if one["stops"] else (one["low"], one["high"])
            assert low <= float(number) <= high, (kind, one["name"])


def test_the_slider_of_a_rule_moves_the_share_in_it(blocks: Model) -> None:
    ratio = slider(wb.PruneChannels(), "ratio", blocks)
    assert (ratio["text"], ratio["prefix"], ratio["high"]) == ("macs:0.5", "macs:", 1.0)
    assert slider(wb.PruneChannels(ratio=0.3), "ratio", blocks)["prefix"] == ""
    assert slider(wb.SVD(rank="evbmf"), "rank", blocks)["prefix"] == ""


def test_scales_go_in_steps_that_are_like_on_paper() -> None:
    assert decades(1, 30) == (1, 2, 3, 5, 7, 10, 15, 20, 30)
    assert decades(0.01, 0.1) == (0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1)
    assert doublings(2, 20) == (2, 4, 8, 16)
