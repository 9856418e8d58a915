"""Check an exported network: does it still answer as it was measured, here, with this runtime?

    python check.py [FOLDER] [--json] [--seconds 2] [--speedup 1.5] [--preprocess FILE.py:FUNCTION] [--run-code]

Needs Python, numpy and onnxruntime alone. It looks at the digests of the files, runs the network on the canaries,
names the layer from which outputs differ, and times it against the original. `--preprocess` checks code of your own: a
function from pixels (N, height, width, channels), uint8 RGB, to the network's inputs (N, ...). Exit code: 0 where all
agrees, 1 where something differs (or the speed-up is not surely `--speedup`), 2 where there is nothing to check.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Run = Callable[[Sequence[Array]], list[Array]]

MANIFEST, CANARIES, BASELINE = "manifest.json", "canary.npz", "baseline.onnx"
#: Signs that a tensor is projected on repeat after so many numbers: a prime, so that no axis falls in step with it.
PERIOD, PROJECTIONS = 65537, 6
#: What loading files anew shifts a ratio of two times by, as a standard deviation of its logarithm.
PLACEMENT = 0.02
ROUNDS, BLOCK_S, Z95 = 7, 0.005, 1.96
#: What `canary.npz` says of itself: the network's file and its format, how many inputs and outputs it has, whether
#: these are scores of classes, how far they may differ, its tensors, the speed-up, where it was measured and which
#: machine alone it is for, and how pixels became inputs.
KINDS: dict[str, Callable[[Any], Any]] = {
    "file": str, "format": str, "inputs": int, "outputs": int, "answers": bool, "tolerance": float, "layers": list,
    "speedup": lambda one: one and tuple(map(float, one)), "machine": str, "made_for": str,
    "preprocess": lambda one: one and dict(one),
}  # fmt: skip
USUAL = {"mean": [0.0], "std": [1.0]}
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


class Unusable(Exception):
    """There is nothing to check: the folder holds something else, or what is needed is not installed."""


@dataclass
class Report:
    """What was found. `differs` are sentences, each a reason not to trust the network here; `notes` are not."""

    folder: str
    runtime: str = ""
    agrees: list[str] = field(default_factory=list)
    differs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    accuracy: tuple[int, int, int] | None = None  # right here, right where it was measured, canaries
    ratio: tuple[float, float, float] | None = None

    def to_json(self) -> str:
        """The same for a program."""
        return json.dumps(asdict(self), indent=2)

    def __str__(self) -> str:
        head = f"{self.folder}: {'DIFFERS' if self.differs else 'agrees with what was measured'}"
        parts = ("here", [self.runtime]), ("ok", self.agrees), ("DIFFERS", self.differs), ("note", self.notes)
        lines = [head, *(f"  {name:9}{line}" for name, many in parts for line in many)]
        return "\n".join("".join(one if one.isprintable() else "?" for one in line) for line in lines)


@dataclass(frozen=True)
class Ask:
    """What is asked: seconds of timing, 0 for none; the least speed-up, 0 for any; a preprocessing of one's own.

    `run_code`: whoever asks trusts the folder's maker, so that an export which is itself code (C99, `.pt2`) is run.
    """

    seconds: float = 2.0
    speedup: float = 0.0
    own: Callable[[Array], Any] | None = None
    run_code: bool = False


@dataclass(frozen=True)
class Folder:
    """An export: what its manifest says of it, and its canaries."""

    path: Path
    files: dict[str, str]
    proof: dict[str, Any]
    preprocess: dict[str, Any]
    canaries: dict[str, Array]

    @property
    def inputs(self) -> list[list[Array]]:
        """Of each canary its inputs, each with a batch of one: what other inputs are beside it changes nothing."""
        many = [self.canaries[f"input_{index}"] for index in range(self.proof["inputs"])]
        return [[one[index : index + 1] for one in many] for index in range(len(many[0]))]

    @property
    def outputs(self) -> list[Array]:
        """What is expected (N, ...), each output."""
        return [self.canaries[f"output_{index}"] for index in range(self.proof["outputs"])]


def read(path: Path) -> Folder:
    """An export's folder. Raises: `Unusable` for anything else."""
    try:
        said = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        files, preprocess = dict(said["files"]), dict(said["preprocess"])
        with (path / CANARIES).open("rb") as stream, np.load(stream, allow_pickle=False) as held:
            canaries = {name: held[name] for name in held.files}
        proof = {"made_for": ""} | json.loads(canaries.pop("about").tobytes())  # earlier ones were for any machine
        return Folder(path, files, {name: kind(proof[name]) for name, kind in KINDS.items()}, preprocess, canaries)
    except (FileNotFoundError, NotADirectoryError) as error:
        missing = Path(error.filename).name
        raise Unusable(f"{path} is no export with canaries: {missing} is missing. Give one of wb.export.") from error
    except Exception as error:
        raise Unusable(f"{path} is no export that can be checked ({error!r}). Export it again.") from error


# --- running it


def session_of(model: bytes | str, optimised: bool = True) -> Any:
    """ONNX Runtime on one thread, with its rewriting of graphs or without. Raises: `Unusable`."""
    try:
        import onnxruntime
    except ImportError as error:
        raise Unusable("onnxruntime is not installed, which runs this network: pip install onnxruntime.") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def runner(session: Any, names: list[str] | None = None) -> Run:
    """A function from inputs to outputs, all or those named."""
    entries = [(one.name, TYPES.get(one.type)) for one in session.get_inputs()]
    return lambda inputs: session.run(
        names, {name: np.asarray(one, kind) for (name, kind), one in zip(entries, inputs, strict=True)}
    )


def unpacked(folder: Folder, place: Path) -> Path:
    """The ONNX file of an export; of a bundle what the decoder beside this file, or the workbench's, gives."""
    file, own = folder.path / Path(folder.proof["file"]).name, Path(__file__)
    if file.suffix != ".wbz":
        return file
    decoder = next(one for one in (own.with_name("decode.py"), own.parents[1] / "coding" / "decode.py") if one.exists())
    command = [sys.executable, str(decoder), str(file), str(place / "model.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unusable(f"{file.name} cannot be unpacked: {done.stderr.strip()}")
    return place / "model.onnx"


def opened(folder: Folder, file: Path, place: Path, run_code: bool = False) -> Run:
    """What runs a file. Raises: `Unusable` for a runtime that is not installed, or code that nobody said to trust."""
    if file.suffix == ".onnx":
        return runner(session_of(str(file)))
    known = {".xml": (openvino_runner, "openvino"), ".tflite": (litert_runner, "ai-edge-litert")}
    read_back = partial(workbench_runner, folder.proof["format"], place, run_code)
    run, package = known.get(file.suffix, (read_back, "nn-workbench"))
    try:
        return run(file)
    except ImportError as error:
        raise Unusable(f"{file.name} needs {error.name} to be run: pip install {package}.") from error


def openvino_runner(file: Path) -> Run:
    """OpenVINO on the CPU, in float32 where the network is."""
    import openvino

    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    request = openvino.Core().compile_model(str(file), "CPU", hints).create_infer_request()
    return lambda inputs: [np.array(one) for one in request.infer(dict(enumerate(inputs))).values()]


def litert_runner(file: Path) -> Run:
    """LiteRT on the CPU, one input at a time."""
    from ai_edge_litert.interpreter import Interpreter

    network = Interpreter(model_path=str(file), num_threads=1)
    network.allocate_tensors()
    entries, leaves = network.get_input_details(), network.get_output_details()

    def run(inputs: Sequence[Array]) -> list[Array]:
        for entry, one in zip(entries, inputs, strict=True):
            network.set_tensor(entry["index"], one.astype(entry["dtype"]))
        network.invoke()
        return [network.get_tensor(leave["index"]) for leave in leaves]

    return run


def workbench_runner(format_: str, place: Path, run_code: bool, file: Path) -> Run:
    """What the workbench reads, such as networks that torch runs. Raises: `Unusable` for code that is not trusted."""
    from workbench.exporters import exporter

    known = exporter(format_)
    if known.runs_code and not run_code:
        raise Unusable(
            f"{file.name} was not run: reading {known.title} back runs {known.runs_code}, and a folder may be a "
            "stranger's. Add --run-code where you trust whoever made it."
        )
    session = known.load(known.unpacked(file, place))
    return lambda inputs: session.outputs(tuple(inputs))


def with_outputs(model: bytes, names: Sequence[str]) -> bytes:
    """An ONNX file that gives these tensors too: a message behind a message of the same kind is merged into it."""
    entries = b"".join(_message(12, _message(1, name.encode())) for name in names)
    return model + _message(7, entries)


def _message(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer: ModelProto.graph is 7, GraphProto.output 12, ValueInfoProto.name 1."""
    length, size = b"", len(content)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def not_given(model: bytes, names: Sequence[str]) -> list[str]:
    """Those tensors that an ONNX file does not give as outputs already."""
    given = {one.name for one in session_of(model).get_outputs()}
    return [name for name in names if name not in given]


def prints(run: Run, inputs: Sequence[Sequence[Array]]) -> Array:
    """Fingerprints (tensors, canaries, numbers) of what is given."""
    return np.stack([[fingerprint(one) for one in run(given)] for given in inputs], axis=1)


def fingerprint(tensor: Array) -> Array:
    """Eight numbers: the mean, the root mean square, and projections on random signs, which any change moves."""
    flat = np.asarray(tensor, np.float64).reshape(-1)
    size = max(flat.size, 1)
    folded = np.pad(flat, (0, -flat.size % PERIOD)).reshape(-1, PERIOD).sum(axis=0) if flat.size else np.zeros(PERIOD)
    return np.array([flat.sum() / size, np.sqrt(np.square(flat).sum() / size), *(signs() @ folded / np.sqrt(size))])


@cache
def signs() -> Array:
    """Ones with random signs (projections, PERIOD), the same with every numpy."""
    return 2.0 * np.random.RandomState(0).randint(0, 2, (PROJECTIONS, PERIOD)) - 1.0


# --- what is compared


def check_files(folder: Folder, report: Report) -> bool:
    """Whether the network's file is the one that was exported; names every file that is not."""
    changed = []
    for name, known in folder.files.items():
        file = folder.path / Path(name).name
        if not file.is_file():
            report.differs.append(f"{name} is missing.")
        elif hashlib.sha256(file.read_bytes()).hexdigest() != known:
            changed.append(name)
            report.differs.append(f"{name} is not the file that was exported: its SHA-256 is another.")
    if not changed:
        report.agrees.append(f"{len(folder.files)} files are those that were exported.")
    return folder.proof["file"] not in changed


def check_outputs(folder: Folder, run: Run, report: Report) -> bool:
    """Whether outputs on the canaries agree; answers and accuracy with them."""
    found = answers_of(run, folder.inputs)
    gap, tolerance = apart(found, folder.outputs), float(folder.proof["tolerance"])
    text = f"Outputs on {len(folder.inputs)} canaries: largest relative difference {gap:.2g}, allowed {tolerance:.2g}."
    (report.agrees if gap <= tolerance else report.differs).append(text)
    if folder.proof["answers"] and gap == gap:
        check_answers(folder, found[0], report)
    return gap <= tolerance


def answers_of(run: Run, inputs: Sequence[Sequence[Array]]) -> list[Array]:
    """Each output of all canaries, one behind the other: as (N, ...), or as numbers where shapes differ."""
    found = []
    for one in zip(*map(run, inputs), strict=True):
        parts = [np.atleast_1d(part) for part in one]
        alike = len({part.shape[1:] for part in parts}) == 1
        found.append(np.concatenate(parts if alike else [part.reshape(-1) for part in parts]))
    return found


def apart(found: Sequence[Array], expected: Sequence[Array]) -> float:
    """The largest difference of two lists of outputs, relative to the largest number of each; infinite for others."""
    if [one.shape for one in found] != [one.shape for one in expected]:
        return float("inf")
    gaps = [0.0]
    for one, other in zip(found, expected, strict=True):
        if other.dtype.kind != "f":
            gaps.append(float(np.mean(one != other)) if other.size else 0.0)
            continue
        gap = np.where(one == other, 0.0, np.abs(one.astype(np.float64) - other))
        largest = np.abs(other[np.isfinite(other)]).max(initial=0.0)
        gaps.append(float(np.nan_to_num(gap, nan=np.inf).max(initial=0.0) / max(float(largest), 1e-12)))
    return max(gaps)


def check_answers(folder: Folder, found: Array, report: Report) -> None:
    """Answers, where outputs are scores of classes: how many are others, and how many are right."""
    expected = folder.outputs[0]
    scale = folder.proof["tolerance"] * float(np.abs(expected).max(initial=0.0))
    two = np.sort(expected, axis=1)[:, -2:]
    decided = (two[:, 1] - two[:, 0]) > 2 * scale  # nearer ones may fall on either side by rounding
    answers, before = found.argmax(axis=1), expected.argmax(axis=1)
    other = int(((answers != before) & decided).any(axis=tuple(range(1, answers.ndim))).sum())
    if other:
        report.differs.append(f"{other} of {len(answers)} canaries get another answer.")
    labels = folder.canaries.get("labels")
    if labels is not None and answers.ndim == 1:
        right, was = int((answers == labels).sum()), int((before == labels).sum())
        report.accuracy = (right, was, len(labels))
        report.agrees.append(f"Accuracy on the canaries: {right} of {len(labels)} right, {was} where it was measured.")


def check_layers(folder: Folder, model: bytes, intact: bool, report: Report) -> None:
    """Say from which layer on tensors differ, and whether the file or this machine's kernel is why."""
    layers = folder.proof["layers"]
    fused = [index for index, one in enumerate(layers) if one["survives"]]
    first = first_apart(folder, model, fused, "prints")
    if not intact:
        where = f"from layer {layers[first]['layer']} on" if first is not None else "in no layer by itself"
        report.differs.append(f"The file holds other numbers: tensors differ {where}.")
        return
    single = first_apart(folder, model, range(len(layers)), "prints_single")
    if single is not None:
        one = layers[single]
        said = f"This machine's kernel {one['kernel']} differs, in layer {one['layer']} and from there on."
    elif first is not None:
        one = layers[first]
        said = (
            f"This machine's fused kernel {one['operators']} differs, in layer {one['layer']} and from there on: "
            "without optimisation of the graph every tensor agrees."
        )
    else:
        said = "No layer by itself differs: this machine's kernels do where ONNX Runtime joins layers further."
    report.differs.append(said)


def first_apart(folder: Folder, model: bytes, which: Sequence[int] | range, kind: str) -> int | None:
    """The first of some tensors whose fingerprint is another than where it was exported."""
    layers, known = folder.proof["layers"], folder.canaries[kind]
    names = [layers[index]["tensor"] for index in which]
    whole = with_outputs(model, not_given(model, names))
    found = prints(runner(session_of(whole, optimised=kind == "prints"), names), folder.inputs[: known.shape[1]])
    for place, index in enumerate(which):
        gap = np.abs(found[place] - known[index])
        if not bool((gap <= layers[index]["tolerance"]).all()):
            return index
    return None


# --- how pixels become inputs


def normalised(pixels: Array, said: dict[str, Any]) -> Array:
    """Inputs of pixels (N, H, W, C), uint8 RGB: `(pixel / 255 * range - mean) / std`, in the order and layout said."""
    values = pixels.astype(np.float32) / np.float32(255) * np.float32(said.get("range", 1.0))
    values = values[..., ::-1] if said.get("order") == "BGR" else values
    mean, std = (np.asarray(said.get(name) or one, np.float32) for name, one in USUAL.items())
    values = (values - mean) / std
    return np.ascontiguousarray(values if said.get("layout") == "NHWC" else np.moveaxis(values, -1, 1))


def other_preprocessing(pixels: Array, given: Array, expected: dict[str, Any]) -> str:
    """What makes inputs of these pixels others than expected, in words; "" where they are the expected ones."""
    usual = (expected.get("order", "RGB"), expected.get("layout", "NCHW"))
    wanted = normalised(pixels, expected)
    if given.shape == wanted.shape and np.allclose(given, wanted, atol=1e-3 * max(float(np.ptp(wanted)), 1e-9)):
        return ""
    for layout in sorted(("NCHW", "NHWC"), key=lambda one: one != usual[1]):
        for order in sorted(("RGB", "BGR"), key=lambda one: one != usual[0]):
            seen = normalised(pixels, {"order": order, "layout": layout})
            fit = _affine(seen, given, layout)
            if fit is not None:
                return _told(expected, usual, (order, layout), fit)
    return " where it was ".join(f"shape {x.shape} from {x.min():.3g} to {x.max():.3g}" for x in (given, wanted))


def _affine(seen: Array, given: Array, layout: str) -> tuple[Array, Array] | None:
    """The mean and std by which `given` is made of pixels between 0 and 1; None where it is not."""
    if seen.shape != given.shape:
        return None
    axis = 1 if layout == "NCHW" else 3
    x, y = (np.moveaxis(one, axis, 0).reshape(one.shape[axis], -1).astype(np.float64) for one in (seen, given))
    middle = x.mean(axis=1, keepdims=True), y.mean(axis=1, keepdims=True)
    slope = ((x - middle[0]) * (y - middle[1])).sum(1) / np.maximum(np.square(x - middle[0]).sum(1), 1e-12)
    rest = y - middle[1] - slope[:, None] * (x - middle[0])
    if not bool((slope > 0).all()) or np.abs(rest).max() > 1e-3 * max(float(np.ptp(y)), 1e-9):
        return None
    return middle[0][:, 0] - middle[1][:, 0] / slope, 1 / slope


def _told(expected: dict[str, Any], usual: tuple[str, str], found: tuple[str, str], fit: tuple[Array, Array]) -> str:
    said = [
        f"{name} {now} where it was {before}"
        for name, before, now in zip(("channel order", "layout"), usual, found, strict=True)
        if before != now
    ]
    scale, count = float(expected.get("range", 1.0)), len(fit[0])
    known = [np.resize(np.asarray(expected.get(name) or one, float), count) / scale for name, one in USUAL.items()]
    if _near(255 * fit[0], known[0]) and _near(255 * fit[1], known[1]):
        return ", ".join([*said, f"range {255 * scale:g} where it was {scale:g}"])
    for name, before, now in zip(USUAL, known, fit, strict=True):
        if not _near(now, before):
            said.append(f"{name} {_numbers(now * scale)} where it was {_numbers(before * scale)}")
    return ", ".join(said) or "other numbers"


def _near(one: Array, other: Array) -> bool:
    return bool(np.abs(one - other).max() <= 5e-3 * max(1.0, float(np.abs(other).max())))


def _numbers(values: Array) -> str:
    texts = [f"{one + 0:.3g}" for one in np.round(values, 6)]
    return texts[0] if len(set(texts)) == 1 else "/".join(texts)


def check_preprocessing(folder: Folder, report: Report, own: Callable[[Array], Any] | None) -> None:
    """Hold what the manifest says, and code of the user's own, against the canaries' pixels."""
    pixels, known = folder.canaries.get("pixels"), folder.proof["preprocess"]
    if pixels is None or known is None:
        if own is not None:
            raise Unusable("The canaries of this export hold no pixels, so no preprocessing can be checked.")
        return
    for who, given in (("manifest.json describes", normalised(pixels, folder.preprocess)),
                       ("Your preprocessing gives", None if own is None else own(pixels))):  # fmt: skip
        wrong = "" if given is None else other_preprocessing(pixels, given, known)
        if wrong:
            report.differs.append(f"{who} another preprocessing: {wrong}.")
        elif given is not None:
            report.agrees.append(f"{who} the preprocessing that it was measured with.")


# --- how fast it is


def timed(run: Callable[[], Any], runs: int) -> float:
    """Seconds of one run: the lower quartile of several, of which some may have been interrupted."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return sorted(times)[(runs - 1) // 4]


def latency(file: str, baseline: str, inputs: Sequence[Array], seconds: float) -> tuple[float, float, float]:
    """How many times as fast as the original a file is: the median ratio of rounds in turns, with a 95 % interval.

    The interval holds the median of ratios whatever their distribution (order statistics), and where the files happen
    to lie in memory. The original is there without its weights: the same operations on numbers of the same size.
    """
    runs = [partial(runner(session_of(one)), inputs) for one in (baseline, file)]
    counts = [max(1, min(50, round(BLOCK_S / max(timed(run, 10), 1e-7)))) for run in runs]
    ratios: list[float] = []
    started = time.perf_counter()
    while len(ratios) < ROUNDS or (time.perf_counter() - started < seconds and len(ratios) < 1000):
        order = (0, 1) if len(ratios) % 2 else (1, 0)  # neither always finds the other's data in the caches
        found = {index: timed(runs[index], counts[index]) for index in order}
        ratios.append(float(np.log(found[0] / found[1])))
    return interval(np.sort(ratios))


def interval(sorted_logs: Array) -> tuple[float, float, float]:
    """The median of ratios with a 95 % interval, from their sorted logarithms."""
    count, middle = len(sorted_logs), float(np.median(sorted_logs))
    centre, reach = (count - 1) / 2, Z95 * np.sqrt(count) / 2
    ends = sorted_logs[max(0, int(centre - reach))], sorted_logs[min(count - 1, int(np.ceil(centre + reach)))]
    below, above = (float(np.hypot(one - middle, Z95 * PLACEMENT)) for one in ends)
    return float(np.exp(middle)), float(np.exp(middle - below)), float(np.exp(middle + above))


def check_latency(folder: Folder, file: Path, ask: Ask, report: Report) -> None:
    """Time it against the original, in turns, and hold that against what was measured and what is asked for."""
    known, baseline = folder.proof["speedup"], folder.path / BASELINE
    if ask.seconds <= 0 or known is None or not baseline.is_file() or file.suffix != ".onnx":
        if ask.speedup:
            raise Unusable("This export holds nothing to time it against, so no speed-up can be asked for.")
        return
    report.ratio = _, low, high = latency(str(file), str(baseline), folder.inputs[0], ask.seconds)
    text, was = (f"{a:.2f}× ({b:.2f} to {c:.2f})" for a, b, c in (report.ratio, known))
    text = f"Speed-up over the original: {text} here, {was} where it was measured."
    if ask.speedup and low < ask.speedup:
        report.differs.append(f"It is not surely {ask.speedup:g}× as fast. {text}")
    else:
        report.agrees.append(text)
    if high < known[1]:
        report.notes.append("It gains less on this machine than where it was measured.")


# --- the whole


def check(path: Path, ask: Ask = Ask()) -> Report:
    """Everything that can be said of an export on this machine. Raises: `Unusable`."""
    folder = read(path)
    try:
        return checked(folder, ask)
    except (KeyError, IndexError, TypeError, ValueError) as error:  # what was read is none of what `wb.export` wrote
        raise Unusable(f"The {CANARIES} of {path} is damaged ({error!r}). Export it again.") from error


def checked(folder: Folder, ask: Ask) -> Report:
    """As `check`, of a folder that was read."""
    report = Report(str(folder.path), _machine(folder))
    if folder.proof["made_for"] not in ("", here()):
        report.notes.append(
            f"{folder.proof['file']} was optimised for {folder.proof['made_for']}, and this is {here()}: it may be "
            "slower here, or not run."
        )
    intact = check_files(folder, report)
    check_preprocessing(folder, report, ask.own)
    with tempfile.TemporaryDirectory() as place:
        try:
            file = unpacked(folder, Path(place))
            same = check_outputs(folder, opened(folder, file, Path(place), ask.run_code), report)
            if folder.proof["layers"] and not (same and intact):
                check_layers(folder, file.read_bytes(), intact, report)
            check_latency(folder, file, ask, report)
        except Unusable as error:
            if not report.differs:
                raise
            report.differs.append(str(error))
        except Exception as error:  # noqa: BLE001  # a runtime raises anything for a damaged file
            said = str(error).strip().partition("\n")[0][:300]
            report.differs.append(f"The network cannot be run here as it was where it was measured: {said}")
    return report


def here() -> str:
    """The processor and the ONNX Runtime that this runs with."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    processor = next(named, "") or platform.processor() or platform.machine()
    return f"{processor} with onnxruntime {_runtime_version()}"


def _runtime_version() -> str:
    try:
        return metadata.version("onnxruntime")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _machine(folder: Folder) -> str:
    """Where it runs, beside where it was measured."""
    software = f"onnxruntime {_runtime_version()}, numpy {np.__version__}, {platform.system()} {platform.machine()}"
    return f"{software}, {os.cpu_count()} CPUs; measured on {folder.proof['machine']}"


def own_function(text: str) -> Callable[[Array], Any]:
    """The function that `FILE.py:FUNCTION` names. Raises: `Unusable`."""
    name, _, function = text.rpartition(":")
    spec = importlib.util.spec_from_file_location("own_preprocessing", name) if Path(name).is_file() else None
    if spec is None or spec.loader is None:
        raise Unusable(f"--preprocess {text!r}: there is no such file. Give FILE.py:FUNCTION.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, function, None)
    if not callable(found):
        raise Unusable(f"--preprocess {text!r}: {name} has no function {function!r}.")

    def own(pixels: Array) -> Any:
        try:
            return np.asarray(found(pixels.copy()), np.float64)
        except Exception as error:
            raise Unusable(f"{text} raised {error!r} on pixels of shape {pixels.shape}.") from error

    return own


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the folder that is named, or the one that this file lies in; the exit code."""
    parser = argparse.ArgumentParser(description="Check an exported network on this machine.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent, help="what wb.export wrote")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long to time it, 0 for not at all")
    parser.add_argument("--speedup", type=float, default=0.0, help="the least speed-up that it must surely have")
    parser.add_argument("--preprocess", default="", metavar="FILE.py:FUNCTION", help="your preprocessing, to check it")
    parser.add_argument("--run-code", action="store_true", help="the folder's maker is trusted: run C99 and .pt2, too")
    asked = parser.parse_args(arguments)
    try:
        own = own_function(asked.preprocess) if asked.preprocess else None
        report = check(asked.folder, Ask(asked.seconds, asked.speedup, own, asked.run_code))
    except Unusable as error:
        print(f"Nothing was checked. {error}", file=sys.stderr)
        return 2
    print(report.to_json() if asked.json else report)
    return 1 if report.differs else 0


if __name__ == "__main__":
    sys.exit(main())
