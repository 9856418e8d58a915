from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.errors import UnknownName
from workbench.models.architectures import ARCHITECTURES
from workbench.quantization.codes import binary, error, ternary
from workbench.step import Context, Rewrite
from workbench.steps.binary import Binary
from workbench.steps.ternary import Ternary

EXAMPLE = torch.zeros(1, 1, 28, 28)


def test_ternary_by_hand() -> None:
    weight = torch.tensor([[1.0, -0.2, 0.5, -0.9], [0.0, 0.0, 0.0, 0.0]])
    # mean magnitude 0.65, threshold 0.455: 1, 0.5 and -0.9 stay, their mean magnitude is 0.8
    torch.testing.assert_close(ternary(weight), torch.tensor([[0.8, 0.0, 0.8, -0.8], [0.0, 0.0, 0.0, 0.0]]))


def test_binary_is_the_best_of_all_sign_patterns() -> None:
    weight = torch.randn(1, 6, generator=torch.Generator().manual_seed(0))
    errors = []
    for signs in itertools.product([-1.0, 1.0], repeat=6):
        pattern = torch.tensor([signs])
        scale = (weight * pattern).mean()  # least squares
        errors.append(float((weight - scale * pattern).norm() / weight.norm()))
    assert error(weight, binary) == pytest.approx(min(errors), rel=1e-5)


@pytest.mark.parametrize(("step", "values"), [(Ternary(), 3), (Binary(), 2), (Ternary(keep_ends=False), 3)])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_layers_hold_a_few_values_a_channel(step: Rewrite, values: int, name: str) -> None:
    torch.manual_seed(0)
    module = ARCHITECTURES[name]()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    coded = step.apply(module, Context(EXAMPLE))
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    layers = [n for n, m in module.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    changed = [n for n in layers if not torch.equal(coded.get_submodule(n).weight, module.get_submodule(n).weight)]
    assert len(changed) == len(layers) - 2 * step.keep_ends  # type: ignore[attr-defined]
    for n in changed:
        rows = coded.get_submodule(n).weight.flatten(1)  # type: ignore[operator,union-attr]
        assert all(len(row.unique()) <= values for row in rows)


def test_plan_says_what_it_costs_and_what_is_kept() -> None:
    torch.manual_seed(0)
    module = ARCHITECTURES["fashion-resnet"]()
    network = trace(module, EXAMPLE)
    sketch = Binary(layers="blocks.*").plan_on(network, Weights(module))
    rows = {row.layer: row for row in sketch.rows}
    assert sketch.network.totals == network.totals
    assert rows["stem.0"].action == "the first and the last layer are kept"
    assert rows["blocks.3.conv2"].action == "weights of -1 and 1: 97% less to store, the same speed"
    # of a Gaussian weight's energy the mean magnitude explains 2/pi; torch's start is uniform, 3/4
    assert rows["blocks.3.conv2"].relative_error == pytest.approx(0.5, abs=0.01)
    with pytest.raises(UnknownName, match="no layer named 'block'"):
        Binary(layers="block").plan_on(network, Weights(module))
