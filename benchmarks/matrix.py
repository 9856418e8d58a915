"""Every technique on every kind of network: what works, what has nothing to do and why, what is refused and why.

    python benchmarks/matrix.py [--only 'timm:*'] [--steps 'Tucker*'] [--seconds 300] [--cells build/cells.jsonl]
    python benchmarks/matrix.py --write docs/matrix.md [--cells build/cells.jsonl]

Adds the cells that are missing to a file, a line of JSON each, and prints a Markdown table, one row a network;
`--write` makes the published page of the file, with every reason, and runs nothing. Each network runs in a process of
its own. timm and torchvision are used where they are installed.

`odd:` are the small networks of `tests/odd.py`; a name alone is that of a network which comes with the package.
Networks of collections are made for ten classes, and of blocks in a row that are alike they have one. Weights are
random, inputs are noise. Norms have statistics near those of what they read, and nothing starts at zero,
so that outputs differ between inputs and an error anywhere shows.

A cell works when the step changed the network, the network costs what the plan said, and the ONNX file gives what the
module gives: within 0.2 % in float, 2 % in half precision, and in 8 bits as near as the file that ONNX Runtime's own
quantizer makes, or within 20 %, root mean square. Of a factorization at full rank the outputs are the original's within
1e-4 of the largest one; no file is written of it. A network of random weights can blow up what is rounded in each of
its operations: where its outputs move further than that once its inputs are rounded, ten times as far is allowed in
float32, and three times in half precision.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib
import json
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch
from canonical import batch, settle
from matrix_page import CRASH, EXACT, IDLE, JOINT, REFUSED, SLOW, WORKS, WRONG, Cell, counts, page, rows
from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static
from torch import nn
from with_torchvision import declare_operators

import workbench as wb
from workbench.building.build import lower, network_of, rewrite
from workbench.errors import WorkbenchError
from workbench.jobs import Reporter
from workbench.models import Model
from workbench.models.architectures import BUNDLED
from workbench.modules.calling import call, flatten, tensors_map
from workbench.onnx_file import write_onnx
from workbench.recipe import Recipe

#: How far a file may be off: in float; in half precision; in 8 bits without asking further.
SAME, HALF, COARSE = 2e-3, 0.02, 0.2
CP_FULL = 20_000  # weights of a layer that CP at full rank, whose terms are many, is tried on

FULL: dict[str, Any] = {"allow_growth": True}
#: The last digit of an input, by how much more than by that outputs may differ, and at most: float32, half precision.
ROUNDED = {"full": (1e-7, 10, 0.02), "fp16": (2.0**-12, 3, 0.25)}
#: Its types are not chosen by measuring, which takes the machine for itself.
INTEGERS = wb.Quantize("int8", types="u8s8", stem="int8")
#: QAT hardly learns: labels of noise would lead away from the module that its file is compared with.
STEPS: dict[str, Callable[[], Any]] = {
    "Tucker .5": lambda: wb.Tucker(0.5), "Tucker macs:.6": lambda: wb.Tucker("macs:0.6"),
    "Tucker evbmf": lambda: wb.Tucker("evbmf"), "Tucker full": lambda: wb.Tucker(1.0, **FULL),
    "CP .25": lambda: wb.CP(0.25), "CP full": lambda: wb.CP(1.0, **FULL),
    "TT .5": lambda: wb.TensorTrain(0.5), "TT full": lambda: wb.TensorTrain(1.0, **FULL),
    "SVD .5": lambda: wb.SVD(0.5), "SVD energy:.9": lambda: wb.SVD("energy:0.9"),
    "SVD full": lambda: wb.SVD(1.0, **FULL),
    "SpatialSVD .25": lambda: wb.SpatialSVD(0.25), "SpatialSVD full": lambda: wb.SpatialSVD(1.0, **FULL),
    "Separable 1": lambda: wb.Separable(1), "Grouped 2": lambda: wb.Grouped(2), "Stack3x3": lambda: wb.Stack3x3(),
    "GlobalPool": lambda: wb.GlobalPool(), "Shift": lambda: wb.Shift(),
    "Prune .5": lambda: wb.Prune(0.5), "PruneNM 2:4": lambda: wb.PruneNM(2, 4),
    "PruneChannels .3": lambda: wb.PruneChannels(0.3), "DropBlocks 1": lambda: wb.DropBlocks(1),
    "Recalibrate": lambda: wb.Recalibrate(), "Finetune 1": lambda: wb.Finetune(1),
    "ShareWeights 4": lambda: wb.ShareWeights(4), "Ternary": lambda: wb.Ternary(), "Binary": lambda: wb.Binary(),
    "fp16": lambda: wb.Quantize("fp16"), "int8": lambda: INTEGERS,
    "int8-dynamic": lambda: wb.Quantize("int8-dynamic"), "QAT 1": lambda: wb.QAT(1, rate=1e-6),
    "Tucker .5 + int8": lambda: wb.Tucker(0.5) | INTEGERS,
}  # fmt: skip

Maker = Callable[[], tuple[nn.Module, Any]]

TORCHVISION = """
    shufflenet_v2_x0_5:64 mobilenet_v3_small:64 squeezenet1_1:64 squeezenet1_0:64 mnasnet0_5:64 mobilenet_v2:64
    regnet_y_400mf:64 efficientnet_b0:64 resnet18:64 VisionTransformer:64 DenseNet:64 googlenet:64
    resnext50_32x4d:64 inception_v3:96 swin_t:64 convnext_tiny:64 alexnet:96
"""
TIMM = """
    lcnet_050:64 tf_mobilenetv3_small_minimal_100:64 convnext_atto:64 tf_efficientnet_lite0:64 ghostnet_100:64
    deit_tiny_patch16_224:64 mixnet_s:64 repvgg_a0:64 seresnet18:64 mobilevit_xxs:64 nf_resnet26:64 levit_128s:224
    poolformerv2_s12:64 mixer_s32_224:224 vgg11_bn:64 resnetv2_50x1_bit:64 nasnetalarge:64
"""
#: What a collection's network is made with: its own settings where the usual one is too large to try 32 steps on.
SETTINGS: dict[str, dict[str, Any]] = {
    "googlenet": {"init_weights": True}, "inception_v3": {"init_weights": True},
    "DenseNet": {"growth_rate": 16, "block_config": (3, 3, 3, 3), "num_init_features": 32},
    "VisionTransformer": {"image_size": 64, "patch_size": 16, "num_layers": 4, "num_heads": 3, "hidden_dim": 192,
                          "mlp_dim": 768},
    "deit_tiny_patch16_224": {"img_size": 64}, "vgg11_bn": {"mlp_ratio": 0.125},
    "nasnetalarge": {"stem_size": 32, "num_features": 1056},  # NASNet-A (4 @ 1056), the mobile one
}  # fmt: skip
#: Of `tests/odd.py`: what is wrapped, computed, shared, called or shaped in another way.
ODD = """
    same padding|weight standardisation|LoRA|detectron|weight norm|spectral norm|functional|root parameters
    |matmul|two inputs|tuple output|dict output|side head|tokens|layer used twice|tied weights
    |tied linear layers|attention|transformer layer|LSTM|GRU|one dimension|three dimensions|transposed
    |stride and dilation|grouped|depthwise|PReLU|layer norm|group norm|scaled by a parameter|hard-coded view
    |channel shuffle|split|squeeze and excite|DenseNet|residual|single layer|U-Net|detector
"""


def zoo() -> Iterator[tuple[str, Maker]]:
    """Every network by name, and what makes it with its example."""
    for name, kind in BUNDLED.items():
        yield name, lambda kind=kind: (kind(), torch.randn(kind.shape))
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    odd = importlib.import_module("odd")
    for name in (one.strip() for one in ODD.split("|")):
        yield f"odd:{name}", lambda name=name: tuple(odd.networks()[name])
    for package, names in (("torchvision", TORCHVISION), ("timm", TIMM)):
        for name, _, size in (one.partition(":") for one in names.split()):
            yield (
                f"{package}:{name}",
                lambda package=package, name=name, size=int(size): _collected(package, name, size),
            )


def _collected(package: str, name: str, size: int) -> tuple[nn.Module, Any]:
    declare_operators()
    found = importlib.import_module(package)
    make = found.create_model if package == "timm" else found.models.get_model
    options = {"num_classes": 10, **SETTINGS.get(name, {})}
    made = getattr(found.models, name)(**options) if name[0].isupper() else make(name, **options)
    return shortened(made), torch.randn(1, 3, size, size)


def shortened(module: nn.Module) -> nn.Module:
    """The network without blocks that are like an earlier one of their row: the same kinds of layers, sooner done."""
    for row in [one for one in module.modules() if isinstance(one, nn.Sequential | nn.ModuleList) and len(one) > 1]:
        seen: set[str] = set()
        for at in reversed([at for at, block in enumerate(row) if (alike := _alike(block)) in seen or seen.add(alike)]):
            if any(True for _ in row[at].parameters()):
                del row[at]
    return module


def _alike(block: nn.Module) -> str:
    """What blocks that compute the same have in common; weights differ, and rates of dropping, which rise."""
    plain = [{k: v for k, v in vars(m).items() if isinstance(v, int | tuple | list | str)} for m in block.modules()]
    kinds = [type(one).__name__ for one in block.modules()]
    return f"{kinds} {plain} {[tuple(one.shape) for one in block.parameters()]}"


class TooLong(BaseException):
    """A cell's time is up; no `Exception`, so that nothing on its way out takes it for one of its own."""


def noise(model: Model) -> wb.Data:
    """Splits of noise in the shapes of the model's example, with class numbers where its output are classes."""
    with torch.no_grad():
        first = flatten(call(model.module, model.example))[0]
    classes = first.shape[1] if first.dim() == 2 and first.shape[1] > 1 else 0
    parts: dict[str, Any] = {}
    for split, count in (("train", 16), ("calibration", 8), ("validation", 8), ("test", 8)):
        inputs = batch(model.example, count)
        parts[split] = (inputs, torch.arange(count) % classes) if classes else inputs
    return wb.data(parts)


def cell(network: str, model: Model, data: wb.Data, step: str) -> Cell:
    """Carry out one step and judge it. Never raises."""
    start, off = time.process_time(), 0.0
    try:
        outcome, why, off = _judged(model, data, step)
    except WorkbenchError as error:
        slip = error.__cause__ is not None and not isinstance(error.__cause__, WorkbenchError)
        outcome, why = CRASH if slip else REFUSED, str(error)
    except TooLong:
        outcome, why = SLOW, ""
    except BaseException as error:  # noqa: BLE001  # a crash is what is looked for
        where = traceback.extract_tb(error.__traceback__)[-1]
        outcome, why = CRASH, f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
    return Cell(network, step, outcome, why.replace("\n", " ")[:2000], time.process_time() - start, off)


def _judged(model: Model, data: wb.Data, name: str) -> tuple[str, str, float]:
    step = STEPS[name]()
    if name == "CP full":
        small = [n for n, m in model.module.named_modules() if getattr(m, "weight", None) is not None
                 and m.weight.dim() > 2 and m.weight.numel() <= CP_FULL]  # fmt: skip
        if not small:
            return IDLE, "no layer is small enough to try all its terms", 0.0
        step = wb.CP(1.0, layers=small, **FULL)
    recipe = step if isinstance(step, Recipe) else Recipe((step,))
    plan = recipe.plan(model)
    if plan.problem:
        return REFUSED, plan.problem, 0.0
    if not plan.changes:
        return IDLE, JOINT.join(sorted({row.action.removeprefix("left alone: ") for row in plan.rows})), 0.0
    exact = name.endswith("full")
    module = rewrite(model, recipe, None if exact else data, recalibrate=not exact)
    found = network_of(module, model, recipe).totals
    if plan.exact and (found.macs, found.params) != (plan.macs, plan.params):
        return WRONG, f"planned {plan.macs} MACs and {plan.params} params, got {found.macs} and {found.params}", 0.0
    far = difference(module, model.module, model) if exact else 0.0
    if exact and not far <= max(EXACT, unsettled("full", model.module, model, largest)):
        return WRONG, f"full rank is off by {far:.1e}", far
    if exact:
        return WORKS, "", far
    with tempfile.TemporaryDirectory() as folder:
        path = lower(module, model, recipe, data, Path(folder) / "model.onnx", Reporter())
        off = from_file(path, module, model)
        most = allowed(name, off, module, model, data)
    return (WORKS, "", off) if off <= most else (WRONG, f"the file is off by {off:.1e}, more than {most:.1e}", off)


def allowed(name: str, off: float, module: nn.Module, model: Model, data: wb.Data) -> float:
    """How far a file may be off: in few bits as far as ONNX Runtime's own quantizer is, on random weights the worst
    that there is.
    """
    if "int8" not in name and "QAT" not in name:
        kind, least = ("fp16", HALF) if name == "fp16" else ("full", SAME)
        return max(least, unsettled(kind, module, model, apart)) if off > least else least
    if off <= COARSE:
        return COARSE
    with tempfile.TemporaryDirectory() as folder:
        plain, rival = Path(folder) / "plain.onnx", Path(folder) / "rival.onnx"
        write_onnx(module, model.example, plain)
        _rival(plain, rival, data, dynamic="dynamic" in name)
        return max(COARSE, (2.0 if "QAT" in name else 1.2) * from_file(rival, module, model))  # trained weights move


def _rival(plain: Path, target: Path, data: wb.Data, dynamic: bool) -> None:
    """ONNX Runtime's quantizer: extremes of the calibration inputs, one scale an output channel."""
    if dynamic:
        model = onnx.load(plain)
        del model.graph.value_info[:]  # it turns a weight round and keeps the shape that is noted of it
        onnx.save(model, plain)
        quantize_dynamic(str(plain), str(target), per_channel=True)
        return
    names = [one.name for one in onnxruntime.InferenceSession(str(plain)).get_inputs()]
    split = data.get("calibration")
    inputs = [one.numpy() for one in flatten(split.read(range(len(split)))[0])]
    quantize_static(str(plain), str(target), Inputs(dict(zip(names, inputs, strict=True))), per_channel=True)


class Inputs(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime's is untyped
    """All calibration inputs, at once."""

    def __init__(self, feed: dict[str, Any]) -> None:
        self.feeds = iter([feed])

    def get_next(self) -> dict[str, Any] | None:
        """The inputs, then None."""
        return next(self.feeds, None)


@torch.no_grad()
def difference(found: nn.Module, wanted: nn.Module, model: Model) -> float:
    """The largest difference of any output, relative to the largest one."""
    inputs = batch(model.example, 4)
    return largest(call(found, inputs), call(wanted, inputs))


def largest(found: Any, wanted: Any) -> float:
    """The largest difference of outputs, relative to the largest of them."""
    pairs = [(a, b) for a, b in zip(flatten(found), flatten(wanted), strict=True) if b.is_floating_point()]
    return max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-9)) for a, b in pairs)


def apart(found: Any, wanted: Any) -> float:
    """The difference of outputs, root mean square over that of the outputs."""
    pairs = [(a, b) for a, b in zip(flatten(found), flatten(wanted), strict=True) if b.is_floating_point()]
    return max(_rms(a.float() - b.float()) / max(_rms(b.float()), 1e-9) for a, b in pairs)


@torch.no_grad()
def unsettled(kind: str, module: nn.Module, model: Model, measure: Callable[[Any, Any], float]) -> float:
    """How far apart two computations of a network may be whose outputs move as its inputs are rounded."""
    by, times, most = ROUNDED[kind]
    inputs = batch(model.example, 16)
    moved = tensors_map(lambda one: one * (1 + by * torch.randn_like(one)) if one.is_floating_point() else one, inputs)
    return min(times * measure(call(module, moved), call(module, inputs)), most)


@torch.no_grad()
def from_file(path: Path, module: nn.Module, model: Model) -> float:
    """How far the artefact is from the module, root mean square over that of the outputs.

    Of 16 inputs: on 3, two files of 8 bits that are as near as each other may differ by a fifth.
    """
    inputs = batch(model.example, 16)
    session = onnxruntime.InferenceSession(str(path))
    names = [one.name for one in session.get_inputs()]
    feed = dict(zip(names, (one.numpy() for one in flatten(inputs)), strict=True))
    found = [torch.from_numpy(one) for one in session.run(None, feed) if one.dtype.kind == "f"]
    wanted = [one for one in flatten(call(module, inputs)) if one.is_floating_point()]  # sizes may be outputs too
    return apart(found, wanted)


def _rms(value: torch.Tensor) -> float:
    return float(value.square().mean().sqrt())


def subject(make: Maker) -> tuple[Model, wb.Data]:
    """A network that is alive, and noise for it."""
    module, example = make()
    model = wb.load(settle(module, example), example=example)
    return model, noise(model)


def row(name: str, make: Maker, steps: list[str], seconds: int) -> Iterator[Cell]:
    """All cells of one network, each within `seconds` of processor time."""
    import signal

    def late(*_: object) -> None:
        raise TooLong

    torch.manual_seed(0)
    try:
        model, data = subject(make)
    except ImportError:
        return
    except Exception as error:  # noqa: BLE001  # a door that does not open is a row of its own
        kind = REFUSED if isinstance(error, WorkbenchError) else CRASH
        yield from (Cell(name, step, kind, f"loading: {type(error).__name__}: {error}"[:400]) for step in steps)
        return
    signal.signal(signal.SIGPROF, late)
    for step in steps:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        found = cell(name, model, data, step)
        signal.setitimer(signal.ITIMER_PROF, 0)
        yield found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*")
    parser.add_argument("--steps", default="*", help="globs with commas between")
    parser.add_argument("--seconds", type=int, default=300, help="for one cell")
    parser.add_argument("--cells", type=Path, default=Path("build/cells.jsonl"), help="where each cell is kept")
    parser.add_argument("--one", action="store_true", help="in this process, cells on standard output")
    parser.add_argument("--write", type=Path, help="write the page of the cells that are kept, and run nothing")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    steps = [one for one in STEPS if any(fnmatch.fnmatch(one, each) for each in args.steps.split(","))]
    chosen = [(name, make) for name, make in zoo() if fnmatch.fnmatch(name, args.only)]
    if args.one:
        for name, make in chosen:
            for found in row(name, make, steps, args.seconds):
                print(json.dumps(asdict(found)), flush=True)
        return
    if args.write:
        cells = [one for one in kept(args.cells).values() if one.step in STEPS]
        args.write.write_text(page(cells, list(STEPS), (__doc__ or "").split("\n\n")[3:]))
        return
    args.cells.parent.mkdir(exist_ok=True)
    done = kept(args.cells)
    for name, _ in chosen:
        missing = [step for step in steps if (name, step) not in done]
        if missing:
            apart_process(name, missing, args)
    cells = [one for key, one in kept(args.cells).items() if key[0] in dict(chosen) and key[1] in steps]
    print("\n".join([*rows(cells, steps), "", *counts(cells)]))


def kept(path: Path) -> dict[tuple[str, str], Cell]:
    """The cells in a file, the last of each network and step."""
    lines = path.read_text().splitlines() if path.exists() else []
    cells = [Cell(**json.loads(line)) for line in lines]
    return {(one.network, one.step): one for one in cells}


def apart_process(name: str, steps: list[str], args: argparse.Namespace) -> None:
    """Add cells of one network to the file, from a process that may die."""
    options = {"--only": name.replace("[", "[[]"), "--steps": ",".join(steps), "--seconds": str(args.seconds)}
    command = [sys.executable, __file__, "--one", *(text for pair in options.items() for text in pair)]
    with args.cells.open("a") as out:
        ran = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
        if ran.returncode:
            print(f"{name}: the process ended with {ran.returncode}: {ran.stderr[-400:]}", file=sys.stderr, flush=True)
            out.write(json.dumps(asdict(Cell(name, "process", CRASH, f"ended with {ran.returncode}"))) + "\n")


if __name__ == "__main__":
    main()
