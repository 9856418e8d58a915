"""What labs 1, 4 and 5 call right, against torch, the workbench's own plans, brute force and the papers' figures."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse, stats
from torch import nn
from torch.nn.utils import prune

import workbench as wb
from workbench.cost.roofline import Device
from workbench.quantization import codes
from workbench.teach.labs import LABS, costs, pruning, quantization

FOLDER = Path(__file__).parents[2] / "notebooks" / "labs" / "solutions"
RIGHT: dict[str, Any] = {
    one.name: one.right for questions in LABS.values() for one in questions if hasattr(one, "right")
}


def conv(c_in: int, c_out: int, kernel: int = 1, **how: Any) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel, bias=False, **how)


def cost(layer: nn.Module, channels: int, side: int = 28) -> Any:
    return wb.cost(layer, torch.zeros(1, channels, side, side))


# --- what costs


def test_what_a_layer_costs() -> None:
    assert RIGHT["conv-params"] == sum(one.numel() for one in nn.Conv2d(64, 128, 3).parameters())
    assert RIGHT["conv-macs"] == cost(conv(64, 128, 3, stride=2, padding=1), 64).macs
    equal, unequal = cost(conv(128, 128), 128), cost(conv(32, 512), 32)
    assert equal.macs == unequal.macs and RIGHT["memory-access"] == equal.memory_access_bytes
    assert RIGHT["unequal-widths"] == pytest.approx(unequal.memory_access_bytes / equal.memory_access_bytes)
    width = int(RIGHT["grouped-width"])
    assert cost(conv(width, width, groups=16), width).macs == equal.macs


def test_a_layer_on_a_machine() -> None:
    """A 1 x 1 layer of 2 MACs a byte, as in the question, on a device of its figures."""
    macs = dict.fromkeys(("dense", "pointwise", "depthwise"), costs.MACS_PER_S)
    machine = Device("its", macs, costs.BYTES_PER_S, 0.0, {"32": 1.0})
    layer = cost(conv(16, 16), 16)
    placed = layer.on(machine)
    assert layer.macs / layer.memory_access_bytes == pytest.approx(costs.MACS / costs.BYTES, rel=0.02)
    assert placed.latency_ms / layer.memory_access_bytes == pytest.approx(RIGHT["roofline"] / costs.BYTES)
    assert placed.memory_bound_share == 1


@pytest.fixture(scope="module")
def networks() -> dict[str, Any]:
    """What the lab's own definitions of the two networks cost."""
    names: dict[str, Any] = {"nn": nn, "torch": torch}
    for cell in json.loads((FOLDER / "01_costs.ipynb").read_text(encoding="utf-8"))["cells"]:
        if "def alexnet" in (source := "".join(cell["source"])):
            exec(source, names)
    return {name: wb.cost(names[name](), torch.zeros(1, 3, 224, 224)) for name in ("alexnet", "squeezenet")}


def test_the_two_networks_are_those_of_the_papers(networks: dict[str, Any]) -> None:
    for name, told in (("alexnet", costs.ALEXNET), ("squeezenet", costs.SQUEEZENET)):
        found = networks[name]
        assert (found.macs, found.params) == (told.macs, told.weights)
        assert found.memory_access_bytes - 4 * found.params == 4 * told.moved
    assert costs.ALEXNET.weights == 61_100_840 and costs.SQUEEZENET.weights == 1_248_424  # torchvision's documentation
    rows = networks["alexnet"].layers()
    assert RIGHT["linear-share"] == pytest.approx(rows[rows["kind"] == "linear"]["params"].sum() / rows["params"].sum())


def test_energy_is_that_of_the_cost_model_and_a_batch_shares_the_weights(networks: dict[str, Any]) -> None:
    def image(name: str, batch: int) -> float:
        one = networks[name]
        shared = 162.5e-6 * 4 * one.params * (1 - 1 / batch)
        return float(one.energy_uj - shared)

    for name, told in (("alexnet", costs.ALEXNET), ("squeezenet", costs.SQUEEZENET)):
        for batch in (1, 5, 40):
            asked = (told.macs, 4 * told.weights, 4 * told.moved, batch)
            assert RIGHT["energy-per-image"](*asked) == pytest.approx(image(name, batch))
    cheaper = [image("alexnet", batch) < image("squeezenet", batch) for batch in range(1, 9)]
    assert cheaper == [batch >= RIGHT["break-even-batch"] for batch in range(1, 9)]
    assert RIGHT["moved-number"] == pytest.approx(650 / (3.7 + 0.9))  # Horowitz 2014, figure 1.1.9


# --- pruning


def test_pruning_by_magnitude_is_torchs() -> None:
    layer = conv(5, 7, 3)
    before = layer.weight.detach().numpy().copy()
    prune.l1_unstructured(layer, "weight", amount=0.3)
    assert np.array_equal(pruning.pruned(before, 0.3), layer.weight.detach().numpy())
    norms = torch.linalg.vector_norm(torch.from_numpy(before), 1, dim=(1, 2, 3))
    assert pruning.filter_norms(before) == pytest.approx(norms.numpy(), rel=1e-5)


def test_what_zeros_save() -> None:
    kept = np.zeros((512, 512), np.float32)
    kept[:, ::8] = 1
    rows = sparse.csr_array(kept)
    assert RIGHT["sparse-bytes"] == rows.data.nbytes + rows.indices.astype(np.int16).nbytes
    zeros = RIGHT["sparse-break-even"]
    assert (1 - zeros) * 6 == pytest.approx(4)
    assert RIGHT["zeros-entropy"] == pytest.approx(stats.entropy([1 / 8, 7 / 8], base=2))
    assert RIGHT["two-of-four"] == 36 / 64  # Mishra et al. 2021, section 3: a saving of 44 %
    assert np.prod([1 - RIGHT["per-round"]] * 3) == pytest.approx(0.2)


def test_what_channels_save_is_what_the_workbench_plans() -> None:
    chain = nn.Sequential(*(conv(a, b, 3, padding=1) for a, b in ((48, 64), (64, 64), (64, 64))))
    model = wb.load(chain, example=(1, 48, 8, 8))
    plan = wb.PruneChannels(ratio=0.5, importance="magnitude", round_to=1).plan(model)
    assert RIGHT["halved-widths"] == pytest.approx(plan.macs / wb.cost(model).macs)

    def block(inside: int) -> int:
        layers = (conv(16, inside), conv(inside, inside, 3, groups=inside), conv(inside, 16))
        return sum(one.weight.numel() for one in layers)

    assert RIGHT["expanded-channel"] == block(96) - block(95)


class Residual(nn.Module):
    """The block of the question."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.second = conv(3, 16, 3), conv(16, 32), conv(32, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.stem(image)
        y = x + self.second(torch.relu(self.first(x)))
        found: torch.Tensor = self.head(y.mean((2, 3)))
        return found


def test_which_layers_lose_the_same_channels() -> None:
    plan = wb.PruneChannels(ratio=0.5, importance="magnitude").plan(wb.load(Residual(), example=(1, 3, 8, 8)))
    action = plan.frame().set_index("layer")["action"]
    assert "together with second" in action["stem"] and "together with stem" in action["second"]
    assert "together" not in action["first"]
    (question,) = (one for one in pruning.QUESTIONS if one.name == "tied-layers")
    assert question.options[question.right] == "stem and second"  # type: ignore[attr-defined]


# --- quantization


def test_scale_and_zero_point_cover_the_range() -> None:
    scale, zero = RIGHT["step-size"], RIGHT["zero-point"]
    grid = (np.arange(16) - zero) * scale
    assert 0.0 in grid and grid[-1] - grid[0] == pytest.approx(4)
    assert abs(grid[0] + 1) <= scale / 2 and abs(grid[-1] - 3) <= scale / 2
    x = torch.randn(50, generator=torch.Generator().manual_seed(0)) * 4
    found = torch.fake_quantize_per_tensor_affine(x, 0.0234, 77, 0, 255)
    assert (quantization.quantized(x.numpy(), 0.0234, 77) - 77) * 0.0234 == pytest.approx(found.numpy(), abs=1e-5)


def test_errors_of_rounding_by_brute_force() -> None:
    values = np.linspace(0, 6, 100_001)

    def rms(steps: int) -> float:
        return float(np.sqrt(np.mean((np.rint(values / 6 * steps) * 6 / steps - values) ** 2)))

    assert RIGHT["rounding-error"] == pytest.approx(rms(255), rel=1e-3)
    assert RIGHT["four-bits"] == pytest.approx(rms(15) / rms(255), rel=1e-3)
    assert RIGHT["outlier"] == pytest.approx((20 / 255) / (2 / 255))


def test_integers_stand_for_reals() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.integers(0, 256, 300, dtype=np.uint8), rng.integers(-127, 128, 300, dtype=np.int8)
    real = (0.03 * (x.astype(float) - 41)) @ (0.007 * w.astype(float))
    assert quantization.integer_dot(x, w, 0.03, 41, 0.007) == pytest.approx(real)
    largest, bits = 576 * 128 * 128, RIGHT["accumulator"]
    assert 2 ** (bits - 2) - 1 < largest <= 2 ** (bits - 1) - 1
    assert math.frexp(0.02 * 0.005 / 0.05) == (pytest.approx(0.512), -RIGHT["multiplier"])
    assert RIGHT["lost-channel"] == len(np.unique(np.rint(np.linspace(-0.1, 0.1, 1001) / (10 / 127))))


def test_two_bits_and_one() -> None:
    weight = torch.randn(6, 40, generator=torch.Generator().manual_seed(1))
    assert quantization.ternary(weight.numpy()) == pytest.approx(codes.ternary(weight).numpy(), rel=1e-5)
    given = np.array([0.4, -0.2, 0.1, -0.9])
    tried = np.linspace(0, 1, 10_001)
    best = tried[np.argmin([((one * np.sign(given) - given) ** 2).sum() for one in tried])]
    assert RIGHT["binary-scale"] == pytest.approx(best, abs=1e-4)
    assert codes.binary(torch.tensor(given)[None])[0, 0].item() == pytest.approx(RIGHT["binary-scale"])
