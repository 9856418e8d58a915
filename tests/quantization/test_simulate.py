"""The simulation computes what ONNX Runtime computes, and training it trains the artefact."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from small_nets import SHAPE, graph, images, net
from torch import nn
from torch.nn import functional as F  # noqa: N812

from workbench.building.build import compress
from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.data import Split
from workbench.data import data as load_data
from workbench.data.source import Held
from workbench.errors import StepFailed
from workbench.jobs import Reporter
from workbench.measure import int8_layouts
from workbench.measure.accuracy import evaluate, outputs
from workbench.models import load
from workbench.models.architectures import ARCHITECTURES
from workbench.onnx_file import write_onnx
from workbench.quantization.qdq import quantize_graph
from workbench.quantization.ranges import activation_ranges
from workbench.quantization.sensitivity import answers
from workbench.quantization.simulate import Simulated
from workbench.step import Context
from workbench.steps.qat import QAT
from workbench.steps.quantize import Quantize
from workbench.steps.tucker import Tucker
from workbench.tasks.classification import CLASSIFICATION


@pytest.fixture(autouse=True)
def _every_layer_in_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is fastest on the machine of the test is not asked: the first form is taken."""
    monkeypatch.setattr(int8_layouts, "fastest", lambda paths, **_: 0)
    monkeypatch.setattr(int8_layouts, "_KNOWN", {})


def both(model: onnx.ModelProto, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    network = Simulated(model)
    with torch.no_grad():
        parts = [network(part) for part in torch.from_numpy(inputs).split(100)]
    return torch.cat(parts).numpy(), answers(model, inputs, Reporter())


def quantized(model: onnx.ModelProto, inputs: np.ndarray) -> onnx.ModelProto:
    return quantize_graph(model, activation_ranges(model, inputs, "minmax", Reporter()))


def test_float_graph_is_the_same(tmp_path: Path) -> None:
    simulated, real = both(graph(net(), tmp_path), images(30))
    np.testing.assert_allclose(simulated, real, atol=1e-5)


def one_step(model: onnx.ModelProto) -> float:
    """What the logits move at most when every input of the last layer moves by one step."""
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    last = next(node for node in model.graph.node if node.op_type == "Gemm")
    weight, scale = (constants[name] for name in makers[last.input[1]].input[:2])
    step = float(constants[makers[last.input[0]].input[1]])
    return step * float(np.abs(weight.astype(np.float64) * scale.reshape(-1, 1)).sum(1).max())


def test_logits_agree_within_one_step(tmp_path: Path) -> None:
    model = quantized(graph(net(), tmp_path), images(100))
    simulated, real = both(model, images(1000, 5))
    assert np.abs(simulated - real).max() <= one_step(model)
    assert np.mean(np.abs(simulated - real) > 1e-5) < 0.2  # ties may round either way; most do not differ at all


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_of_bundled_networks_agree_within_one_step_on_1000_images(name: str, tmp_path: Path) -> None:
    net, data = load(name), load_data("fashion-mnist")
    path = write_onnx(net.module, net.example, tmp_path / "net.onnx")
    model = quantized(onnx.load(str(path)), data["calibration"].inputs[:100].numpy())
    simulated, real = both(model, data["test"].inputs[:1000].numpy())
    assert np.abs(simulated - real).max() <= one_step(model)
    assert (simulated.argmax(1) == real.argmax(1)).all()


def test_without_training_nothing_changes(tmp_path: Path) -> None:
    model = quantized(graph(net(), tmp_path), images(50))
    assert Simulated(model).write_back() == model


def test_gradients_pass_through_rounding_and_stop_at_saturation(tmp_path: Path) -> None:
    student = Simulated(quantized(graph(net(), tmp_path), images(50)))
    x = torch.from_numpy(images(4)).requires_grad_()
    student(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in student.masters.parameters())
    far = (torch.ones(1, *SHAPE) * 1e3).requires_grad_()  # beyond the range that was calibrated
    student(far).sum().backward()
    assert far.grad is not None
    assert far.grad.abs().sum() == 0


class Many(nn.Module):
    """A convolution and what follows it: (N, 2, 8, 8) -> (N, ...)."""

    def __init__(self, after: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.first, self.after = nn.Conv2d(2, 4, 3, padding=1), after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(self.first(x)).flatten(1)


class Reading(nn.Module):
    """A recurrent layer over rows of pixels."""

    def __init__(self, kind: type[nn.RNNBase], **options: bool) -> None:
        super().__init__()
        self.rows = kind(16, 6, batch_first=True, **options)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rows(x.transpose(1, 2).flatten(2))[0].flatten(1)


FOLLOWED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "activations": lambda x: torch.cat(
        [
            F.gelu(x), F.gelu(x, approximate="tanh"), F.silu(x), F.hardswish(x), F.mish(x), F.softplus(x), F.elu(x),
            F.leaky_relu(x), F.hardsigmoid(x), F.selu(x), F.relu6(x), F.celu(x), F.logsigmoid(x), x.abs().sqrt(),
            x.exp(), x.tanh(), x.sin() / (2 + x.cos()), F.softsign(x), x.clamp(max=0.3), -x, x.sign(), x.round(),
        ],
        1,
    ),
    "poolings": lambda x: torch.cat(
        [
            F.avg_pool2d(x, 3, 2, 1).flatten(1), F.avg_pool2d(x, 3, 2, 1, count_include_pad=False).flatten(1),
            F.max_pool2d(x, 3, 2, ceil_mode=True).flatten(1), F.avg_pool2d(x, 3, 2, ceil_mode=True).flatten(1),
            F.max_pool2d(x, 3, 1, 1, dilation=1).flatten(1), F.adaptive_max_pool2d(x, 1).flatten(1),
        ],
        1,
    ),
    "resizing": lambda x: torch.cat(
        [
            F.interpolate(x, scale_factor=2.0), F.interpolate(x, scale_factor=2.0, mode="bilinear"),
            F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True),
            F.interpolate(x, size=(16, 16), mode="bicubic"), F.pixel_shuffle(x.repeat(1, 4, 1, 1), 2),
        ],
        1,
    ),
    "margins": lambda x: torch.cat(
        [F.pad(x, (1, 2, 3, 1), mode) for mode in ("reflect", "replicate", "circular", "constant")], 1
    ),
    "reductions": lambda x: torch.stack(
        [
            x.mean((2, 3)), x.amax((2, 3)), x.amin((2, 3)), x.std((2, 3)), x.norm(dim=(2, 3)), x.logsumexp((2, 3)),
            x.sum((2, 3)), x.square().sum((2, 3)), x[:, :, :2, :2].prod(2).prod(2), x.cumsum(1)[:, :, 0, 0],
        ],
        1,
    ),
    "indices": lambda x: torch.cat(
        [
            x[:, ::2, 1:-1].flatten(1), x[..., torch.tensor([0, 2, -1])].flatten(1), x.flip(2).flatten(1),
            x.roll(1, 3).flatten(1), x.chunk(2, 1)[1].flatten(1), x.topk(2, 1)[0].flatten(1),
            x.gather(1, x.argmax(1, keepdim=True)).flatten(1), torch.where(x > 0, x, 2 * x).flatten(1),
            F.one_hot(x.argmax(1), 4).float().flatten(1), x.split([1, 3], 1)[1].flatten(1),
        ],
        1,
    ),
    "products": lambda x: torch.einsum("nchw,ndhw->ncd", x, x).tril().softmax(-1) @ F.normalize(x, dim=1).flatten(2),
    "attention": lambda x: F.scaled_dot_product_attention(x.flatten(2), x.flatten(2), x.flatten(2), is_causal=True),
    "branches": lambda x: F.local_response_norm(x, 3),
}  # fmt: skip
LAYERS: dict[str, nn.Module] = {
    "norms": nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.PReLU(4), nn.Flatten(),
        nn.LayerNorm(144),
    ),
    "transposed": nn.Sequential(
        nn.ConvTranspose2d(2, 4, 3, 2, 1, output_padding=1), nn.ConvTranspose2d(4, 4, 2, 2, groups=2)
    ),
    "lstm": Reading(nn.LSTM, bidirectional=True),
    "gru": Reading(nn.GRU, bidirectional=True),
}  # fmt: skip


@pytest.mark.parametrize("name", [*FOLLOWED, *LAYERS])
def test_operators_compute_what_onnx_runtime_computes_and_gradients_pass(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = LAYERS[name] if name in LAYERS else Many(FOLLOWED[name])
    model = graph(module.eval(), tmp_path)
    simulated, real = both(model, images(3))
    np.testing.assert_allclose(simulated, real, rtol=1e-4, atol=1e-5 * float(np.abs(real).max()))
    network, x = Simulated(model), torch.from_numpy(images(3)).requires_grad_()
    network(x).square().sum().backward()
    assert network.opaque == []
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_an_operator_without_a_rule_is_followed_by_its_reference() -> None:
    """Forward as ONNX says, by hand; gradients end there, and its name is told."""
    nodes = [helper.make_node("Shrink", ["x"], ["y"], "shrink", lambd=0.5, bias=0.1)]
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3])] for name in "xy"]
    made = helper.make_model(helper.make_graph(nodes, "g", *ends), opset_imports=[helper.make_opsetid("", 20)])
    network = Simulated(made)
    found = network(torch.tensor([[-1.0, 0.2, 2.0]], requires_grad=True))
    torch.testing.assert_close(found, torch.tensor([[-0.9, 0.0, 1.9]]))
    assert network.opaque == ["Shrink 'shrink'"] and not found.requires_grad


@dataclass
class Task:
    source: Path
    context: Context
    test: Split


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """A network that has learnt nothing yet, and a task that it can learn: which quadrant is brightest."""
    source = write_onnx(net(), torch.zeros(1, *SHAPE), tmp_path_factory.mktemp("task") / "net.onnx")

    def split(name: str, n: int, seed: int) -> Split:
        inputs = torch.from_numpy(images(n, seed))
        labels = torch.arange(n) % 5
        for k in range(4):
            inputs[labels == k, k % 2] += 1.5 if k < 2 else -1.5
        return Split(name, Held(name, inputs, labels))

    train, validation, test = split("train", 320, 1), split("validation", 100, 2), split("test", 300, 3)
    splits = {"calibration": train.first(100), "train": train, "validation": validation}
    context = Context(train.example, task=CLASSIFICATION, **splits)  # type: ignore[arg-type]
    return Task(source, context, test)


def test_qat_trains_the_artefact(task: Task) -> None:
    before, after = task.source.with_name("ptq.onnx"), task.source.with_name("qat.onnx")
    Quantize("int8", types="u8s8").lower(task.source, before, task.context)
    QAT(epochs=5, distill=0.0, rate=0.03).lower(task.source, after, task.context)
    gained = evaluate(after, task.test).accuracy.value - evaluate(before, task.test).accuracy.value
    assert gained > 0.25
    constants = {one.name: one.data_type for one in onnx.load(str(after)).graph.initializer}
    assert constants["0.weight_quantized"] == TensorProto.INT8


def test_qat_after_a_factorization(task: Task) -> None:
    """Low rank, then trained with rounding: every factor is among the integers."""
    small = compress(net(), Tucker(rank=(4, 2), layers="0", data_aware=False), example=task.context.example)
    source, after = task.source.with_name("small.onnx"), task.source.with_name("small-qat.onnx")
    write_onnx(small.module, small.example, source)
    QAT(epochs=3, distill=0.0, rate=0.03).lower(source, after, task.context)
    assert evaluate(after, task.test).accuracy.value > evaluate(source, task.test).accuracy.value + 0.2
    weights = [one for one in onnx.load(str(after)).graph.initializer if one.name.endswith("weight_quantized")]
    assert len(weights) > 4 and {one.data_type for one in weights} == {TensorProto.INT8}


def test_a_stem_in_float_stays_as_it_was(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_layouts, "fastest", lambda paths, **_: 1)
    after = task.source.with_name("float-stem.onnx")
    QAT(epochs=1, distill=0.0, rate=0.03).lower(task.source, after, task.context)
    before, trained = (
        {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load(str(path)).graph.initializer}
        for path in (task.source, after)
    )
    np.testing.assert_array_equal(before["0.weight"], trained["0.weight"])
    assert "0.weight_quantized" not in trained and "4.weight_quantized" in trained


def test_qat_keeps_the_start_where_training_harms(task: Task) -> None:
    """At an absurd learning rate the best on validation is the start: the post-training artefact."""
    before, after = task.source.with_name("ptq.onnx"), task.source.with_name("harmed.onnx")
    Quantize("int8", types="u8s8").lower(task.source, before, task.context)
    exact = outputs(task.source, task.context.validation.inputs).argmax(1)  # type: ignore[union-attr]
    own = task.context.validation.with_labels(torch.from_numpy(exact))  # type: ignore[union-attr]
    context = Context(
        task.context.example, calibration=task.context.calibration, train=task.context.train, validation=own
    )
    QAT(epochs=1, rate=0.1).lower(task.source, after, context)
    np.testing.assert_array_equal(outputs(after, task.test.inputs), outputs(before, task.test.inputs))


def test_qat_of_a_network_with_other_activations(task: Task) -> None:
    source, after = task.source.with_name("gelu.onnx"), task.source.with_name("gelu-qat.onnx")
    write_onnx(net(gelu=True), task.context.example, source)
    QAT(epochs=3, distill=0.0, rate=0.03).lower(source, after, task.context)
    assert evaluate(after, task.test).accuracy.value > evaluate(source, task.test).accuracy.value + 0.2


def test_qat_of_layers_that_share_weights_keeps_them_shared(task: Task) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.again, self.last = nn.Conv2d(2, 8, 3), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.again(self.first(x).relu()).relu()
            return self.last(self.again(x).relu().mean((2, 3)))

    source, after = task.source.with_name("twice.onnx"), task.source.with_name("twice-qat.onnx")
    write_onnx(Twice().eval(), task.context.example, source)
    QAT(epochs=1, distill=0.0, rate=0.03).lower(source, after, task.context)
    sizes = [math.prod(one.dims) for one in onnx.load(str(after)).graph.initializer if len(one.dims) > 1]
    assert sorted(sizes) == [5 * 8, 8 * 2 * 9, 8 * 8 * 9]


def test_qat_says_where_nothing_can_be_trained(task: Task) -> None:
    source = task.source.with_name("none.onnx")
    write_onnx(nn.Sequential(nn.Flatten(), nn.GELU()), task.context.example, source)
    with pytest.raises(StepFailed, match="nothing to train: no layer has integer kernels"):
        QAT().lower(source, source.with_name("never.onnx"), task.context)


def test_qat_needs_images_to_train_on(task: Task) -> None:
    with pytest.raises(StepFailed, match="no split 'train'"):
        QAT().lower(task.source, task.source.with_name("x.onnx"), Context(task.context.example))


def test_qat_costs_what_int8_costs() -> None:
    module = net()
    network = trace(module, torch.zeros(1, *SHAPE))
    sketch, plain = (step.plan_on(network, Weights(module)) for step in (QAT(), Quantize("int8")))
    assert sketch.network == plain.network
    assert all(row.action.startswith("8 bits") and row.action.endswith(", trained") for row in sketch.rows)


def test_qat_is_refused_where_gradients_reach_no_weight(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are weights to train, and what follows them passes no gradient."""
    monkeypatch.setattr(Simulated, "forward", lambda self, x: torch.zeros(len(x), 5))
    with pytest.raises(StepFailed, match="nothing to train"):
        QAT().lower(task.source, task.source.with_name("never.onnx"), task.context)


def test_qat_without_labels_learns_from_the_float_network_alone(task: Task) -> None:
    bare = Split("train", Held("train", torch.from_numpy(images(64, 1)), None))
    written = [task.source.with_name(f"bare-{distill}.onnx") for distill in (0.0, 1.0)]
    for path, distill in zip(written, (0.0, 1.0), strict=True):  # the share of the labels has nothing to weigh
        QAT(epochs=1, distill=distill).lower(task.source, path, replace(task.context, train=bare, validation=None))
    assert written[0].read_bytes() == written[1].read_bytes()
