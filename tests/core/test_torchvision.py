"""MACs and parameters against the figures that torchvision publishes with its weights."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

import workbench as wb

# Plain convolutional networks of each family; GoogLeNet and Inception publish parameters of auxiliary heads.
NETWORKS = (
    "alexnet", "vgg11", "vgg16_bn", "resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "densenet121",
    "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x1_0", "mnasnet1_0", "efficientnet_b0",
    "regnet_y_400mf", "convnext_tiny",
)  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_published_figures(torchvision: ModuleType, name: str) -> None:
    weights = torchvision.models.get_model_weights(name).DEFAULT
    meta, crop = weights.meta, weights.transforms().crop_size[0]
    cost = wb.cost(torchvision.models.get_model(name), torch.zeros(1, 3, crop, crop))
    # published in units of 10^9 with three decimals: half of the last digit is all the slack there is
    assert cost.macs / 1e9 == pytest.approx(meta["_ops"], rel=0.01, abs=0.0005)
    assert cost.params == pytest.approx(meta["num_params"], rel=0.01)
    assert not [op for op in cost.unsupported if "conv" in op or "linear" in op]


#: Networks whose published count of parameters includes heads that only training uses.
AUXILIARY = {"inception_v3"}
LARGEST = 100e6


@pytest.mark.slow
def test_every_classification_network(torchvision: ModuleType) -> None:
    """All of them under 100 M parameters; benchmarks/cost.py prints the table."""
    wrong, seen = set(), 0
    for name in torchvision.models.list_models(module=torchvision.models):
        weights = torchvision.models.get_model_weights(name).DEFAULT
        if weights.meta["num_params"] >= LARGEST:
            continue
        extra = {"init_weights": False} if name in {"googlenet", "inception_v3"} else {}
        crop = weights.transforms().crop_size[0]
        cost = wb.cost(torchvision.models.get_model(name, **extra), torch.zeros(1, 3, crop, crop))
        macs = cost.macs / 1e9 == pytest.approx(weights.meta["_ops"], rel=0.01, abs=0.0005)
        seen += 1
        assert cost.unsupported == (), name
        if not (macs and cost.params == pytest.approx(weights.meta["num_params"], rel=0.01)):
            wrong.add(name)
    assert seen > 60
    assert wrong == AUXILIARY


def test_networks_of_torchvision_load_by_name(torchvision: ModuleType) -> None:
    model = wb.load("torchvision:resnet18")
    assert model.source == "torchvision:resnet18"
    assert tuple(model.example.shape) == (1, 3, 224, 224)
    with pytest.raises(wb.WorkbenchError, match="Did you mean 'resnet18'"):
        wb.load("torchvision:resnet81")
    row = wb.catalog().set_index("name").loc["torchvision:resnet18"]
    assert (row.params, row.source) == (11689512, "torchvision")
