"""A technique of somebody else, with two settings beside its rank, is one file: plan, work, files and screen follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import pytest
import torch
from factorizing import applied, images, relative_output_error, small_net
from torch import nn

import workbench as wb
from workbench.cost.layer import Layer
from workbench.factorization.chain import Chain, link, pointwise, spatial
from workbench.factorization.step import RANK, Factorize
from workbench.lowrank.spectra import OneRank, Ranks, Spectrum, assumed, matrix_spectrum
from workbench.models import Model
from workbench.recipe import Recipe
from workbench.step import REGISTRY, setting
from workbench_widgets.controls import controls

Tensor = torch.Tensor


@dataclass(frozen=True)
class Narrow(Factorize, abstract=True):
    """Two layers in the place of one, the taps in the first or in the second; some ranks are kept in any case."""

    title: ClassVar[str] = "Narrow"
    summary: ClassVar[str] = "Two layers in the place of one."

    rank: Any = setting(0.5, help="Channels between.", **RANK)
    taps: str = setting("first", "choice", "Which layer keeps the taps.", choices=("first", "second"))
    spare: int = setting(0, "integer", "Ranks on top of those asked for.", low=0, high=8)

    def unfit(self, layer: Layer) -> str:
        """Groups are left alone."""
        return "it has groups" if layer.groups > 1 else ""

    def full(self, layer: Layer) -> Ranks:
        """The rank of a generic unfolding."""
        inside = torch.Size(layer.kernel).numel()
        sides = (layer.c_out, layer.c_in * inside) if self.taps == "first" else (layer.c_out * inside, layer.c_in)
        return (min(sides),)

    def chain(self, layer: Layer, ranks: Ranks) -> Chain:
        """The thinner layer and the other one."""
        middle = min(ranks[0] + self.spare, self.full(layer)[0])
        if layer.kind == "linear" or self.taps == "first":
            first = pointwise(layer, layer.input, middle) if layer.kind == "linear" else link(
                layer, layer.input, middle, spatial(layer)
            )  # fmt: skip
            return first, pointwise(layer, first.output, layer.c_out, bias=layer.bias)
        first = pointwise(layer, layer.input, middle)
        return first, link(layer, first.output, layer.c_out, spatial(layer), bias=layer.bias)

    def spectrum(self, layer: Layer, weights: Sequence[Tensor]) -> Spectrum:
        """Singular values of the unfolding, with the spare ranks taken off."""
        values = matrix_spectrum([self._unfolded(weights[0])])
        return Shifted(values.squares, values.shape, self.spare)

    def assumed(self, layer: Layer) -> Spectrum:
        """Falling singular values."""
        return assumed(self.full(layer)[0])

    def factors(self, layer: Layer, weight: Tensor, ranks: Ranks, moment: Tensor | None) -> list[Tensor]:
        """The two layers' weights."""
        middle = min(ranks[0] + self.spare, self.full(layer)[0])
        u, s, v = torch.linalg.svd(self._unfolded(weight), full_matrices=False)
        left, right = u[:, :middle] * s[:middle], v[:middle]
        if self.taps == "first" or weight.dim() == 2:
            return [right.reshape(middle, *weight.shape[1:]), left]
        return [right, left.reshape(weight.shape[0], *weight.shape[2:], middle).movedim(-1, 1)]

    def _unfolded(self, weight: Tensor) -> Tensor:
        return weight.flatten(1) if self.taps == "first" else weight.movedim(1, -1).flatten(0, -2)


@dataclass(frozen=True)
class Shifted(OneRank):
    """Errors at some ranks more than those asked for."""

    spare: int = 0

    def error(self, ranks: Ranks) -> float:
        """Relative error at these ranks and the spare ones."""
        return self.errors[min(ranks[0] + self.spare, len(self.errors) - 1)]


SETTINGS = [{"taps": taps, "spare": spare} for taps, spare in product(("first", "second"), (0, 3))]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "Narrow", Narrow)


@pytest.fixture(scope="module")
def model() -> Model:
    return wb.load(small_net(), example=images(1))


def weights_of(chain: nn.Module) -> Tensor:
    """The weight that two layers make together, from what they answer to single inputs."""
    first, second = chain
    if isinstance(first, nn.Linear):
        return second.weight @ first.weight
    one, two = first.weight, second.weight
    return torch.einsum("rikl,ormn->oikl" if two.shape[-1] == 1 else "rikl,ormn->oimn", one, two)


def test_each_setting_has_a_plan_of_its_own_whatever_was_asked_before(model: Model) -> None:
    """Asked in turns, so that an answer that was remembered under too little would be given for another setting."""
    plans = {}
    for rank in (0.25, 3, 0.5):
        for options in SETTINGS:
            step = Narrow(rank, data_aware=False, **options)
            plan = step.plan(model)
            small = wb.compress(model, step)
            assert (plan.macs, plan.params) == (wb.cost(small).macs, wb.cost(small).params)
            for name, error in plan.weight_errors.items():
                old, new = model.module.get_parameter(f"{name}.weight"), weights_of(small.module.get_submodule(name))
                assert error == pytest.approx(float((old - new).norm() / old.norm()), abs=1e-5)
            plans[rank, options["taps"], options["spare"]] = plan.macs
    assert len(set(plans.values())) == len(plans)


@pytest.mark.parametrize("options", SETTINGS)
def test_full_rank_is_exact(options: dict[str, Any]) -> None:
    net = small_net()
    new, rows = applied(Narrow(1.0, allow_growth=True, **options), net, images(), aware=False)
    assert any(row.applies for row in rows)
    assert relative_output_error(net, new, images()) < 1e-4


def test_a_budget_is_met_under_each_setting(model: Model) -> None:
    for options in SETTINGS:
        plan = Narrow("macs:0.85", **options).plan(model).required()
        assert 0 < plan.macs <= 0.85 * model.network.totals.macs


@pytest.mark.usefixtures("known")
def test_files_and_the_screen_know_it_at_once(model: Model) -> None:
    recipe = Narrow(0.25, taps="second", spare=2) | wb.Quantize("fp16")
    assert Recipe.from_yaml(recipe.to_yaml()) == Recipe.from_json(recipe.to_json()) == recipe
    found = {one["name"]: one for one in controls(recipe.steps[0], 0, None, model.network)}
    assert list(found)[:3] == ["rank", "taps", "spare"]
    with pytest.raises(wb.WorkbenchError, match="spare"):
        Narrow(0.25, spare=9)
