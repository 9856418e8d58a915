"""`Quantize`: the artefact in float16, or in 8-bit or 4-bit integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import onnx

from workbench.artefact.onnx_graph import WEIGHTED, merge, separate, stem, tidy
from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.errors import BadValue, StepFailed
from workbench.jobs import Reporter
from workbench.measure.int8_layouts import Form, fastest_of
from workbench.measure.judging import judge_of
from workbench.onnx_file import save_onnx
from workbench.quantization.biases import correct_bias
from workbench.quantization.dynamic import quantize_dynamically
from workbench.quantization.equalize import equalize
from workbench.quantization.half import overflows, to_float16
from workbench.quantization.inspect import float_nodes
from workbench.quantization.qdq import TYPES, quantize_graph
from workbench.quantization.ranges import METHODS, Range, activation_ranges
from workbench.quantization.rounding import METHODS as ROUNDINGS
from workbench.quantization.rounding import Grid, round_weights
from workbench.quantization.sensitivity import Quantizer, keep_quality
from workbench.quantization.soundness import check_same, check_stored
from workbench.quantization.weights_only import CLIPS, to_int4
from workbench.quantization.weights_only import LARGEST as LARGEST_INT4
from workbench.settings import decades
from workbench.step import WITH_WEIGHTS, Context, Decision, Lower, Plan, Row, select, setting

if TYPE_CHECKING:
    from workbench.cost.weights import Weights
    from workbench.data import Split

#: Bits that are computed in, and the kinds of operations that have kernels for them; 4 bits are unpacked first.
BITS = {"int8": 8, "fp16": 16, "int8-dynamic": 8, "int4": 32}
STORED = {"int4": 4}
KINDS = {
    "int8": frozenset({"conv", "linear", "matmul", "activation", "norm", "add", "pool", "copy", "reshape"}),
    "int8-dynamic": frozenset({"linear"}),
    "int4": frozenset({"conv", "linear", "matmul"}),
}
#: Kinds that multiply by weights, which files store.
PRODUCTS = KINDS["int4"]
LARGEST_INT8 = 127  # ONNX Runtime leaves -128 unused
_NO_KERNEL = {
    "int8": "no integer kernel",
    "int8-dynamic": "dynamic kernels pay for linear layers only",
    "int4": "has no weights to store",
}
#: Fewer calibration images than this may miss the range of an activation.
ENOUGH = 50
#: More do not help: the ranges of the bundled networks have settled well before.
MOST = 300
#: How many layers at the start may stay in float: they read few channels, where integer kernels gain least, and
#: what enters the network is float anyway.
STEMS = {"int8": (0,), "auto": (0, 1, 2), "float": (1,)}


@dataclass(frozen=True)
class Quantize(Lower):
    """Store and compute in fewer bits.

    "int8" finds the range of every activation on calibration images and writes a QDQ graph that ONNX
    Runtime fuses into integer kernels (Jacob et al. 2018). "int8-dynamic" does so for linear layers
    alone, while the network runs, without calibration. "fp16" halves the file; a CPU without float16
    kernels converts back and forth, which costs small networks time. "int4" stores weights in 4 bits and
    computes in float: an eighth of the file at the same speed.
    """

    title: ClassVar[str] = "Quantize"
    summary: ClassVar[str] = (
        "Fewer bits for weights and activations: a smaller file, and integer kernels where they exist."
    )
    family: ClassVar[str] = "precision"

    precision: str = setting("int8", "choice", "What to store and compute in.", choices=tuple(BITS))
    calibration: str = setting(
        "minmax", "choice", "How the range of an activation follows from what was seen.", choices=tuple(METHODS)
    )
    types: str = setting(
        "auto",
        "choice",
        "Signed (s8) or unsigned (u8) activations and weights; 'auto' measures which is fastest here.",
        choices=("auto", *TYPES),
    )
    stem: str = setting(
        "auto",
        "choice",
        "The first layer in integers or in float; 'auto' measures whether one or two are faster in float here.",
        choices=tuple(STEMS),
    )
    per_channel: bool = setting(True, "flag", "One scale for each output channel of a weight, instead of one in all.")
    symmetric: bool = setting(False, "flag", "Ranges of activations reach as far below zero as above.")
    exclude: str | tuple[str, ...] = setting("", "text", "Layers to leave in float: names or globs.")
    max_drop: float = setting(
        1.0,
        "fraction",
        "Largest loss on the validation split of the figure that the study is judged by, in its own unit; the most "
        "sensitive layers go back to float until it is met. 1 means that any loss will do.",
        low=0.0,
        high=1.0,
        stops=decades(0.001, 1.0),
    )
    equalize: bool = setting(False, "flag", "First even out the ranges of neighbouring layers' channels.")
    bias_correction: bool = setting(False, "flag", "Afterwards correct the mean error of every output channel.")
    rounding: str = setting(
        "auto",
        "choice",
        "Round weights to the nearest step, or so that their errors cancel on the calibration images: one after "
        "the other, or learned together, which takes longer. 'auto' compensates below 8 bits.",
        choices=("auto", *ROUNDINGS),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.precision == "int8" and self._method != "nearest" and self.types == "u8u8":
            raise BadValue(
                f"Quantize(rounding={self.rounding!r}, types='u8u8'): it rounds signed weights. Use 's8' weights."
            )

    @property
    def brief(self) -> str:
        """`int8`, and what differs from the defaults."""
        more = [f"{k}={v}" for k, v in self.options().items() if k != "precision"]
        return " ".join([self.precision, *more])

    def plan_on(self, network: Network, weights: Weights) -> Plan:
        """Shapes stay; the element size shrinks for every operation that has a kernel in this precision."""
        first = self._stem(network)
        excluded = dict.fromkeys(self._excluded(_excludable(network)) if self.exclude else (), "left out by `exclude`")
        if self.stem == "float":
            excluded |= dict.fromkeys(first, "the first layer, left out by `stem`")
        after = network.mapped(_InBits(self.precision, frozenset(excluded)))
        return Plan(network, after, self._rows(network, excluded, first))

    def lower(self, source: Path, target: Path, context: Context) -> None:
        """Quantize an ONNX file.

        Raises: `StepFailed` without calibration images, or when they give NaN; `UnknownName` for a layer in
        `exclude` that the file does not have; `Cancelled`.
        """
        model = separate(tidy(onnx.load(str(source))))
        layers = [node.name for node in model.graph.node if node.op_type in WEIGHTED]
        chosen = self._excluded([*dict.fromkeys(map(stem, layers))])
        excluded = frozenset(name for name in layers if stem(name) in chosen)
        if self.precision == "fp16":
            result = to_float16(model, exclude=excluded)
            _tell_overflows(model, excluded, context)
        elif self.precision == "int8-dynamic":
            result = quantize_dynamically(model, per_channel=self.per_channel, exclude=excluded)
        elif self.precision == "int4":
            result = self._int4(model, excluded, context)
        else:
            result, excluded = self._int8(model, excluded, context)
        merge(result)
        save_onnx(result, target)
        if self.precision == "int8" and self.max_drop == 1.0:
            _tell_floats(target, excluded, context.progress)

    @property
    def _method(self) -> str:
        if self.rounding != "auto":
            return self.rounding
        return "compensated" if self.precision == "int4" else "nearest"

    def _int4(self, model: onnx.ModelProto, excluded: frozenset[str], context: Context) -> onnx.ModelProto:
        inputs = calibration_inputs(context, self.expression())
        grid = Grid(LARGEST_INT4, self.per_channel, CLIPS)
        rounded, scales = round_weights(model, inputs, context.progress, grid, ROUNDINGS[self._method], excluded)
        return to_int4(rounded, scales)

    def _int8(
        self, model: onnx.ModelProto, excluded: frozenset[str], context: Context
    ) -> tuple[onnx.ModelProto, frozenset[str]]:
        """The quantized graph, and the nodes that were left in float on purpose."""
        inputs, report = calibration_inputs(context, self.expression()), context.progress
        if self.equalize:
            plain, model = model, equalize(model)
            check_same(plain, model, inputs, f"{self.expression()}: equalization")
        if self._method != "nearest":
            grid = Grid(LARGEST_INT8, self.per_channel)
            model, _ = round_weights(model, inputs, report.part(0.0, 0.3), grid, ROUNDINGS[self._method], excluded)
        ranges = activation_ranges(model, inputs, self.calibration, report.part(0.3, 0.4))
        form = self.fastest_form(model, ranges, report.part(0.4, 0.6))
        if form.stem and self.stem == "auto":
            named = [node.name for node in model.graph.node if node.op_type in WEIGHTED][: form.stem]
            report.note(f"Measured faster in float here than in integers: {', '.join(named)}.")
        excluded = excluded | form.floats(model)

        def quantize(kept: frozenset[str]) -> onnx.ModelProto:
            options = {"per_channel": self.per_channel, "symmetric": self.symmetric}
            return quantize_graph(model, ranges, TYPES[form.types], exclude=excluded | kept, **options)

        if self.bias_correction:
            model = correct_bias(model, quantize(frozenset()), inputs, report.part(0.6, 0.7))
        free = self.max_drop == 1.0
        result = quantize(frozenset()) if free else self._mixed(model, quantize, excluded, context)
        check_stored(model, result)
        return result, excluded

    def _mixed(
        self, model: onnx.ModelProto, quantize: Quantizer, excluded: frozenset[str], context: Context
    ) -> onnx.ModelProto:
        """Some layers back in float, chosen on the validation split."""
        split = context.validation
        if split is None:
            raise StepFailed(
                f"{self.expression()} chooses on the validation split, and the data have none. "
                "Add one, or name the layers yourself with exclude=[...]."
            )
        layers = [n.name for n in model.graph.node if n.op_type in WEIGHTED and n.name not in excluded]
        judge, metric = judge_of(context.task, split), context.task.principal
        found = keep_quality(model, layers, quantize, judge, self.max_drop, context.progress.part(0.7, 1.0))
        if found.drop.value > self.max_drop:
            context.progress.note(
                f"{self.brief}: {metric.text(found.drop.value)} of {metric.word} is lost on the validation split, more "
                f"than {metric.text(self.max_drop)}, even with {len(found.kept)} layers in float. "
                "Try calibration='mse' or QAT."
            )
        return found.model

    def fastest_form(self, model: onnx.ModelProto, ranges: Mapping[str, Range], report: Reporter) -> Form:
        """Types, and how many first layers to leave in float: as asked for, or what is measured fastest here."""
        every = [name for name in TYPES if self._method == "nearest" or name.endswith("s8")]
        types, stems = every if self.types == "auto" else [self.types], STEMS[self.stem]
        candidates = [*(Form(types[0], stem) for stem in stems), *(Form(name, stems[0]) for name in types[1:])]
        return fastest_of(candidates, model, ranges, report)

    def _excluded(self, names: Sequence[str]) -> frozenset[str]:
        """The names that `exclude` matches: a list, or one text with commas."""
        given = self.exclude.split(",") if isinstance(self.exclude, str) else self.exclude
        patterns = tuple(one.strip() for one in given if one.strip())
        return frozenset(select(patterns, names)) if patterns else frozenset()

    def _stem(self, network: Network) -> frozenset[str]:
        """The first layers with weights, which may stay in float where that is faster."""
        places = (one for one in network.places() if one.module and one.layer.kind in PRODUCTS and one.layer.params)
        count = STEMS[self.stem][-1] if self.precision == "int8" else 0
        return frozenset(one.module for one in islice(places, count))

    @property
    def _said(self) -> str:
        stored = self.precision == "int4"
        return "stored in 4 bits, computed in float32" if stored else f"{BITS[self.precision]} bits"

    def _rows(self, network: Network, excluded: Mapping[str, str], stem: frozenset[str]) -> tuple[Row, ...]:
        """A line for every module that a runtime has an operator for, then for products with computed weights."""
        unless = ", unless given back to float to keep what the study is judged by" if self.max_drop < 1.0 else ""
        line = _Line(self.brief, self.precision, self._said, unless, tuple(excluded.items()), stem)
        by_module: dict[str, Row | None] = {}
        products: list[Row | None] = []
        for told in filter(None, network.told(line)):
            if told[0]:
                by_module.setdefault(*told)
            else:
                products.append(told[1])
        return (*filter(None, by_module.values()), *filter(None, products))


@dataclass(frozen=True)
class _Line:
    """An operation's module and the line about it; no line where it is folded, None where there is nothing to say."""

    brief: str
    precision: str
    said: str
    unless: str
    excluded: tuple[tuple[str, str], ...]  # layers that stay in float, and why
    stem: frozenset[str]

    def __call__(self, layer: Layer, name: str, module: str) -> tuple[str, Row | None] | None:
        if not module and not (layer.kind in PRODUCTS and layer.weight_elements):
            return None
        if module and layer.fused:
            return module, None
        why = self._why_float(layer, module)
        unless = ", or float32 where that is measured faster" if module in self.stem else self.unless
        data = {"why": why} if why else {"bits_said": self.said, "unless": unless}
        macs, params, _moved = layer.costs
        decision = Decision.FLOAT if why else Decision.IN_BITS
        return module, Row(self.brief, module or name, layer.kind, decision, data, macs, macs, params, params)

    def _why_float(self, layer: Layer, module: str) -> str:
        """Why an operation stays in float32; empty where it does not."""
        if self.excluded and module:
            given = dict(self.excluded).get(module)
            if given is not None:
                return given
        if self.precision in KINDS and layer.kind not in KINDS[self.precision]:
            return f"{_NO_KERNEL[self.precision]} ({layer.kind})"
        return ""


@dataclass(frozen=True)
class _InBits:
    """What becomes of a layer at a precision; what is folded into another one is in the bits of that."""

    precision: str
    excluded: frozenset[str]

    def __call__(self, layer: Layer, module: str, maker: Layer | None) -> Layer:
        if layer.fused and layer.reads:
            return layer.at(32 if maker is None else maker.bits, 0)
        kinds = KINDS.get(self.precision)
        if module in self.excluded or (kinds is not None and layer.kind not in kinds):
            return layer.at(32, 0)
        stored = STORED.get(self.precision, 0) if layer.weight_elements and not layer.fused else 0
        return layer.at(BITS[self.precision], stored)


def _excludable(network: Network) -> list[str]:
    """The layers that the exported file has under their names: convolutions and linear layers."""
    kinds = WITH_WEIGHTS | PRODUCTS
    return [name for name, ops in network.by_module.items() if any(one.kind in kinds for one in ops)]


def _tell_overflows(model: onnx.ModelProto, excluded: frozenset[str], context: Context) -> None:
    """A note of the layers whose values float16 cannot hold; a CPU that computes in float32 all the same hides it."""
    if context.calibration is None or len(context.calibration) == 0:
        return
    found = overflows(model, context.calibration.first(ENOUGH), context.progress, excluded)
    if found:
        context.progress.note(
            "fp16: values beyond 65,504, the largest that float16 holds, become infinite where kernels compute in "
            f"float16 and not, as on this CPU, in float32. To keep them out: exclude={found!r}."
        )


def _tell_floats(artefact: Path, excluded: frozenset[str], report: Reporter) -> None:
    """A note of what ONNX Runtime computes in float although nobody asked for it."""
    left = [node for node in float_nodes(artefact) if node.name not in excluded]
    if left:
        named = ", ".join(f"{node.name} ({node.operator})" for node in left[:3])
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        report.note(f"In float although the rest is int8: {named}{more}; {left[0].reason}.")


def calibration_inputs(context: Context, who: str) -> Split:
    """At most 300 calibration images. Notes when they are few; raises `StepFailed` when there are none."""
    found = context.calibration
    if found is None or len(found) == 0:
        raise StepFailed(
            f"{who} needs calibration images to find the range of each activation, and there are none. "
            "Use data with a 'calibration' split, or Quantize('int8-dynamic')."
        )
    if len(found) < ENOUGH:
        context.progress.note(
            f"{len(found)} calibration images may miss the range of some activations; {ENOUGH} suffice."
        )
    return found.first(MOST)
