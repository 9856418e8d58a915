"""Networks of whole numbers, such as token ids, go the whole way; tables that share their weight with a layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.data import Data
from workbench.models import Model
from workbench.modules.calling import answer
from workbench.runtimes.onnxruntime import OnnxSession, open_session

WORDS, LENGTH, WIDTH, CLASSES = 40, 6, 32, 4


class Words(nn.Module):
    """Reads tokens; its scores of words come from the table of tokens, as in language models."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.table, self.hidden = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.scores, self.classes = nn.Linear(WIDTH, WORDS, bias=False), nn.Linear(WORDS, CLASSES)
        if tied:
            self.scores.weight = self.table.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.hidden(self.table(tokens)).mean(1))
        return self.classes(torch.relu(self.scores(x)))


def model(tied: bool = False, kind: torch.dtype = torch.int64) -> Model:
    torch.manual_seed(0)
    return wb.load(Words(tied), example=torch.zeros(1, LENGTH, dtype=kind))


def tokens(most: int = WORDS) -> torch.Tensor:
    return torch.randint(0, most, (60, LENGTH), generator=torch.Generator().manual_seed(1))


def data(x: torch.Tensor) -> Data:
    y = torch.arange(len(x)) % CLASSES
    return wb.data({"train": (x, y), "test": (x, y)})


@pytest.mark.parametrize("kind", [torch.int64, torch.int32])
def test_tokens_go_the_whole_way(kind: torch.dtype, tmp_path: Path) -> None:
    x = tokens()
    net = model(kind=kind)
    study = wb.Study(net, data(x), path=tmp_path / "study")
    with torch.no_grad():
        exact = answer(net.module, x.to(kind)).numpy()
    right = float((exact.argmax(1) == np.arange(60) % CLASSES).mean())
    assert study.baseline["accuracy"].value == pytest.approx(right)
    for recipe in (wb.Quantize("int8"), wb.Quantize("fp16"), wb.QAT(1)):
        variant = study.run(recipe, progress=False)
        found = OnnxSession(open_session(str(variant.onnx))).run(x.numpy())
        off = np.abs(found - exact).max() / np.abs(exact).max()
        assert 0 < off < (0.2 if recipe != wb.Quantize("fp16") else 0.005)
    small = study.run(wb.Recipe((wb.Prune(0.5), wb.Finetune(1))), progress=False)
    wb.export(small, tmp_path / "out", format="safetensors")
    again = wb.load(tmp_path / "out")
    assert again.dtype == kind
    torch.testing.assert_close(answer(again.module, x.to(kind)), answer(small.module, x.to(kind)))
    assert set(study.diagnose(study.find(wb.Quantize("int8"))).layers.layer) == {"hidden", "scores", "classes"}


def test_what_follows_a_table_computes_in_integers(tmp_path: Path) -> None:
    study = wb.Study(model(), data(tokens()), path=tmp_path)
    artefact = onnx.load(study.run(wb.Quantize("int8"), progress=False).onnx)
    kinds = {one.name: one.data_type for one in artefact.graph.initializer}
    (last,) = [node for node in artefact.graph.node if node.name == "classes"]  # others may be faster in float here
    (weight,) = [node for node in artefact.graph.node if node.output[0] == last.input[1]]
    assert weight.op_type == "DequantizeLinear" and kinds[weight.input[0]] == onnx.TensorProto.INT8
    assert kinds["table.weight"] == onnx.TensorProto.FLOAT


def test_whole_numbers_for_a_network_of_floats_are_these_numbers() -> None:
    net = wb.load(nn.Linear(LENGTH, CLASSES), example=torch.zeros(1, LENGTH))
    x = tokens()
    first, second = (wb.Study(net, data(one), keep=False).data for one in (x, x.float()))
    assert data(x)["test"].inputs.dtype == torch.int64
    assert first["test"].inputs.dtype == torch.float32 and first.hash == second.hash


def test_fractions_for_a_network_of_tokens_are_refused() -> None:
    x = tokens().float()
    assert wb.Study(model(), data(x), keep=False).data["test"].inputs.equal(tokens())
    x[7, 3] = 2.5
    with pytest.raises(wb.WorkbenchError, match=r"input \d+ .* holds 2.5"):
        wb.Study(model(), data(x), keep=False)


def test_tokens_that_a_table_does_not_have_are_told() -> None:
    with pytest.raises(wb.WorkbenchError, match="index"):
        wb.compress(model(), wb.Prune(0.5), data=data(tokens() + WORDS))


def test_a_layer_whose_weight_is_a_table_too_is_left_alone() -> None:
    net = model(tied=True)
    plan = wb.SVD(0.3).plan(net).set_index("layer")
    assert plan.applies["hidden"] and not plan.applies["scores"] and "'table'" in plan.action["scores"]
    for step in (wb.SVD(0.3), wb.PruneChannels(0.5), wb.Ternary(), wb.ShareWeights(3, epochs=1)):
        small, planned = wb.compress(net, step, data=data(tokens())), step.plan(net)
        cost = wb.cost(small)
        assert (cost.macs, cost.params) == (planned.macs, planned.params), step
        assert small.weights.tied.keys() >= {"scores"}, step


def test_a_codebook_is_trained_for_all_layers_that_share_a_weight() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 32), nn.Linear(32, 32, bias=False), nn.ReLU(), nn.Linear(32, 32, bias=False))
    net[3].weight = net[1].weight
    loaded = wb.load(nn.Sequential(*net, nn.Linear(32, CLASSES)), example=torch.zeros(1, 8))
    x = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
    small = wb.compress(loaded, wb.ShareWeights(3, epochs=1, lr=0.01), data=data(x)).module
    assert small[1].weight is small[3].weight
    assert len(small[1].weight.unique()) <= 8
    assert not torch.equal(small[1].weight, wb.compress(loaded, wb.ShareWeights(3, epochs=0)).module[1].weight)
