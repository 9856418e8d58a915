"""Networks that nobody tuned for: equal to the original at two batch sizes, counted by hand, stored to the bit; the
user's things as they were. And those that are refused, with the cause.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import odd
import pytest
import torch
from torch import nn
from torch.nn import functional as fn

import workbench as wb
from workbench.errors import BadValue
from workbench.models import Model
from workbench.models.structure import save_variant
from workbench.modules.calling import call, flatten, tensors_map
from workbench.modules.unwrap import unwrap

Tensor = torch.Tensor
#: Multiply-accumulates: 3 -> 16 channels on 10 x 10, 16 -> 16 on 8 x 8, 16 features -> 4 classes.
FIRST, SECOND, HEAD = 3 * 16 * 9 * 100, 16 * 16 * 9 * 64, 16 * 4
BODY, WEIGHTS = FIRST + SECOND + HEAD, 3 * 16 * 9 + 16 + 16 * 16 * 9 + 16 + 16 * 4 + 4
IMAGE = odd.IMAGE


def body() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), odd.Tail(16))


def parts() -> dict[str, nn.Module]:
    return {"a": nn.Conv2d(3, 16, 3), "b": nn.Conv2d(16, 16, 3), "t": odd.Tail(16)}


def run(s: Any, x: Tensor) -> Any:
    return s.t(fn.relu(s.b(fn.relu(s.a(x)))))


@dataclasses.dataclass
class Scores:
    scores: Tensor
    extra: Any = None


class Named(nn.Module):
    """Parts by names that Python keeps for itself, or that a graph has."""

    def __init__(self) -> None:
        super().__init__()
        made = (nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), odd.Tail(16))
        for name, part in zip(("class", "graph", "it's", "self", "new\nline"), made, strict=True):
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Any:
        for name in ("class", "graph", "it's", "self", "new\nline"):
            x = self.get_submodule(name)(x)
        return x


class FrozenNorm(nn.Module):
    """A batch norm of buffers, as detection networks have it: it stays as it is in training."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("weight", "bias", "mean", "var"):
            self.register_buffer(name, torch.rand(16) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return fn.batch_norm(x, self.mean, self.var, self.weight, self.bias, False)  # type: ignore[arg-type]


def patched() -> nn.Module:
    net = body()
    old = net[2].forward
    net[2].forward = lambda x: old(x) * 2
    net[0].forward = types.MethodType(lambda self, x: fn.conv2d(x, self.weight, self.bias), net[0])
    return net


def hooked() -> nn.Module:
    net = body()
    net.seen = []  # type: ignore[assignment]  # users keep such things
    net[2].register_forward_hook(lambda module, inputs, out: net.seen.append(out))
    net[2].register_forward_pre_hook(lambda module, inputs: (inputs[0] * 0.5 + net[0].bias.mean(),))
    return net


def compiled() -> nn.Module:
    net = body()
    net[2] = torch.compile(net[2])
    net[0].compile()
    return net


def exported() -> Any:
    free = ({0: torch.export.Dim.AUTO},)
    return torch.export.export(body().eval(), (torch.randn(2, *IMAGE[1:]),), dynamic_shapes=free)


def per_input(s: Any, x: Tensor) -> Tensor:
    """A filter of its own for every input, as groups."""
    y = s.a(x)
    kernels = s.k(y.mean((2, 3))).view(-1, 1, 3, 3)
    return s.t(fn.conv2d(y.reshape(1, -1, 10, 10), kernels, groups=16 * x.shape[0]).view(-1, 16, 8, 8))


def packed(s: Any, x: Tensor) -> Tensor:
    """Two kernels in one parameter."""
    first, second = s.w.split([16 * 27, 16 * 144])
    y = fn.relu(fn.conv2d(x, first.view(16, 3, 3, 3)))
    return s.t(fn.relu(fn.conv2d(y, second.view(16, 16, 3, 3))))


def with_autocast_off(s: Any, x: Tensor) -> Any:
    with torch.autocast("cpu", enabled=False), torch.enable_grad():
        return run(s, x)


def of(function: Callable[..., Any], **more: Any) -> nn.Module:
    return odd.Lambda(function, **{**parts(), **more})


def embedded(**more: Any) -> dict[str, Any]:
    return {"e": nn.Embedding(20, 16), "l": nn.Linear(16, 16), **more}


R = torch.randn
IDS = torch.tensor([[1, 4, 7, 2, 2, 19]])
HIDDEN, WORDS = 6 * 16 * 16, 6 * 16 * 20
#: What makes each network, its example, and its multiply-accumulates and parameters, counted by hand.
NETWORKS: dict[str, tuple[Callable[[], Any], Any, int, int]] = {
    "data class": (lambda: of(lambda s, x: Scores(run(s, x))), R(IMAGE), BODY, WEIGHTS),
    "names": (Named, R(IMAGE), BODY, WEIGHTS),
    "own forward": (patched, R(IMAGE), BODY, WEIGHTS),
    "hooks": (hooked, R(IMAGE), BODY, WEIGHTS),
    "compiled parts": (compiled, R(IMAGE), BODY, WEIGHTS),
    "parallel part": (lambda: nn.Sequential(nn.DataParallel(body())), R(IMAGE), BODY, WEIGHTS),
    "exported": (exported, R(IMAGE), BODY, WEIGHTS),
    "size of the batch in Python": (
        lambda: of(lambda s, x: run(s, x.reshape(len(x) * 3, 12, 12).view(len(x), 3, 12, 12))), R(IMAGE), BODY,
        WEIGHTS),
    "autocast off": (lambda: of(with_autocast_off), R(IMAGE), BODY, WEIGHTS),
    "channels last": (lambda: body().to(memory_format=torch.channels_last), R(IMAGE), BODY, WEIGHTS),
    "weight read beside its layer": (lambda: of(lambda s, x: run(s, x) + s.b.weight.mean()), R(IMAGE), BODY, WEIGHTS),
    "penalty": (
        lambda: of(lambda s, x: (run(s, x), sum(one.square().sum() for one in s.parameters()))), R(IMAGE), BODY,
        WEIGHTS),
    "two kernels in one": (
        lambda: odd.Lambda(packed, w=nn.Parameter(R(16 * 171) * 0.1), t=odd.Tail(16)), R(IMAGE), BODY, WEIGHTS - 32),
    "frozen norm": (
        lambda: nn.Sequential(nn.Conv2d(3, 16, 3), FrozenNorm(), nn.Conv2d(16, 16, 3), odd.Tail(16)), R(IMAGE), BODY,
        WEIGHTS),
    "filters of the data": (
        lambda: odd.Lambda(per_input, a=nn.Conv2d(3, 16, 3), k=nn.Linear(16, 144), t=odd.Tail(16)), R(IMAGE),
        FIRST + 16 * 144 + 16 * 9 * 64 + HEAD, 432 + 16 + 16 * 144 + 144 + 68),
    "head is the embedding": (
        lambda: odd.Lambda(lambda s, x: fn.linear(s.l(s.e(x)), s.e.weight), **embedded()), IDS, HIDDEN + WORDS,
        20 * 16 + 16 * 16 + 16),
    "decoder is the encoder": (
        lambda: odd.Lambda(lambda s, x: fn.linear(fn.relu(s.l(x)), s.l.weight.t(), s.c), l=nn.Linear(16, 16),
                           c=nn.Parameter(R(16))), R(1, 16), 2 * 16 * 16, 16 * 16 + 32),
    "bilinear": (
        lambda: odd.Several(lambda s, x, y: s.l(s.b(x, y)), b=nn.Bilinear(8, 6, 16), l=nn.Linear(16, 4)),
        (R(1, 8), R(1, 6)), 16 * 8 * 6 + 64, 16 * 48 + 16 + 68),
    "Fourier": (lambda: odd.Lambda(lambda s, x: s.l(torch.fft.rfft(x).abs()), l=nn.Linear(9, 4)), R(1, 16), 36, 40),
    "complex": (
        lambda: odd.Lambda(lambda s, x: s.l(torch.view_as_real(x * s.p).flatten(1)), l=nn.Linear(16, 4),
                           p=nn.Parameter(torch.randn(8, dtype=torch.cfloat))), R(1, 8), 64, 68 + 8),
    "keys of another width": (
        lambda: odd.Several(lambda s, x, y: s.l(s.m(x, y, y, need_weights=False)[0].mean(1)), l=nn.Linear(16, 4),
                            m=nn.MultiheadAttention(16, 4, kdim=12, vdim=12, batch_first=True)),
        (R(1, 5, 16), R(1, 7, 12)), 2 * 5 * 256 + 2 * 7 * 12 * 16 + 2 * 5 * 7 * 16 + 64,
        2 * 256 + 2 * 192 + 4 * 16 + 68),
    "padded tokens": (
        lambda: odd.Several(lambda s, x, m: s.l(s.m(x, src_key_padding_mask=m).mean(1)), l=nn.Linear(16, 4),
                            m=nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 1)),
        (R(1, 5, 16), torch.zeros(1, 5, dtype=torch.bool)), 5 * (4 * 256 + 2 * 512) + 2 * 25 * 16 + 64,
        4 * 272 + 16 * 32 * 2 + 32 + 16 + 64 + 68),
    "frozen part": (lambda: body().requires_grad_(False), R(IMAGE), BODY, WEIGHTS),
}  # fmt: skip


@pytest.fixture(scope="module", params=NETWORKS)
def case(request: pytest.FixtureRequest) -> tuple[Any, Model, int, int]:
    torch.manual_seed(0)
    make, example, macs, params = NETWORKS[request.param]
    net = make()
    return net, wb.load(net, example=example), macs, params


def batch(example: Any, count: int) -> Any:
    generator = torch.Generator().manual_seed(count)

    def several(one: Tensor) -> Tensor:
        shape = (count, *one.shape[1:])
        return torch.randn(shape, generator=generator) if one.is_floating_point() else one.expand(shape).clone()

    return tensors_map(several, example)


def test_outputs_and_counts(case: tuple[Any, Model, int, int]) -> None:
    net, model, macs, params = case
    original = unwrap(net) if not isinstance(net, torch.export.ExportedProgram) else net.module()
    modes = [one.training for one in original.modules()]
    for one in original.modules():
        one.training = False
    for count in (1, 3):
        inputs = batch(model.example, count)
        with torch.no_grad():
            wanted, found = call(original, inputs), call(model.module, inputs)
        for a, b in zip(flatten(found), flatten(wanted), strict=True):
            assert a.dtype == b.dtype and float((a - b).abs().max()) <= 1e-6 * float(b.abs().max())
    for one, mode in zip(original.modules(), modes, strict=True):
        one.training = mode
    for cost in (wb.cost(model), wb.cost(net, example=model.example)):
        assert (cost.macs, cost.params) == (macs, params)
    assert sum(one.numel() for one in model.module.parameters()) == params
    assert all(one.requires_grad for one in model.module.parameters())


def test_it_comes_back_to_the_bit(case: tuple[Any, Model, int, int], tmp_path: Path) -> None:
    model = case[1]
    save_variant(model.module, model, tmp_path / "m.safetensors")
    again = wb.load(tmp_path / "m.safetensors")
    inputs = batch(model.example, 2)
    pairs = zip(flatten(call(again.module, inputs)), flatten(call(model.module, inputs)), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert again.network.totals == model.network.totals


def test_the_plan_is_the_work(case: tuple[Any, Model, int, int]) -> None:
    model = case[1]
    for step in (wb.Tucker(0.5), wb.SVD(0.5), wb.Prune(0.5), wb.PruneChannels(0.4)):
        try:
            planned = step.plan(model)
        except wb.WorkbenchError:
            continue
        found = wb.cost(wb.compress(model, step))
        assert (found.macs, found.params) == (planned.macs, planned.params), step.name


def test_hooks_and_patches_work_on_a_copy() -> None:
    net = hooked()
    wb.load(net, example=R(IMAGE))
    wb.cost(net, example=R(IMAGE))
    assert net.seen == []
    net = patched()
    model = wb.load(net, example=R(IMAGE))
    net[2].weight.data.zero_()
    assert float(model.module.get_parameter("2.weight").abs().sum()) > 0


def test_a_frozen_norm_stays_frozen() -> None:
    net, example, *_ = NETWORKS["frozen norm"]
    module = wb.load(net(), example=example).module.train()
    before = {name: one.clone() for name, one in module.named_buffers()}
    module(batch(example, 4) + 3)
    assert before and all(torch.equal(one, before[name]) for name, one in module.named_buffers())


def test_channels_beside_the_batch_are_not_cut() -> None:
    """Sixteen times the batch is written out: with fewer channels the view is another."""
    net = odd.Lambda(
        lambda s, x: s.t(fn.avg_pool2d(s.a(x).reshape(x.shape[0] * 16, 1, 10, 10), 2).reshape(-1, 16, 5, 5)),
        a=nn.Conv2d(3, 16, 3), t=odd.Tail(16),
    )  # fmt: skip
    model = wb.load(net, example=R(IMAGE))
    assert not wb.PruneChannels(0.4).plan(model).applies.any()


def test_layers_of_an_exported_program_can_be_treated() -> None:
    assert wb.SVD(0.5).plan(wb.load(exported(), example=IMAGE)).applies.any()


def test_no_layers_is_nothing_to_prune() -> None:
    model = wb.load(nn.Sequential(nn.AvgPool2d(2), nn.Flatten()), example=R(IMAGE))
    assert wb.cost(wb.compress(model, wb.Prune(0.5))).params == 0


def half(s: Any, x: Tensor) -> Any:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return run(s, x)


def helper(x: Tensor) -> float:
    return 2.0 if x.max() > 0 else 1.0  # the helper's line


REFUSED: dict[str, tuple[Callable[[], nn.Module], Any, str]] = {
    "autocast": (lambda: of(half), R(IMAGE), r"bfloat16 inside torch.autocast"),
    "branch in a helper": (
        lambda: of(lambda s, x: run(s, x) * helper(x)), R(IMAGE),
        r"line \d+ of test_strange_networks.py: return 2.0 if"),
    "size of the values": (
        lambda: of(lambda s, x: run(s, x) + x.nonzero().shape[0]), R(IMAGE), "nonzero .* depends on"),
    "one at a time": (
        lambda: of(lambda s, x: s.t(s.b(s.a(x.squeeze(0)))[None])), R(IMAGE), "one input at a time, and no batch"),
    "compiled code": (
        lambda: nn.Sequential(nn.Conv2d(3, 16, 3), torch.jit.script(nn.ReLU()), odd.Tail(16)), R(IMAGE),
        "part '1' is TorchScript"),
    "flag": (
        lambda: odd.Several(lambda s, x, f: x, l=nn.Linear(8, 4)), (R(1, 8), True), "holds True, which is no tensor"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")
def test_what_is_refused_is_told_why(name: str) -> None:
    make, example, words = REFUSED[name]
    with pytest.raises(BadValue, match=words):
        wb.load(make(), example=example)
