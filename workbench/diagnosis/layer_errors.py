"""Layer by layer: how far a variant's results are from the original's on the same inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx

from workbench.data.batches import as_split, batches
from workbench.diagnosis.places import Place, isolated, layer_names, places
from workbench.jobs import Reporter
from workbench.quantization.observe import with_outputs
from workbench.runtimes.onnxruntime import feeds, open_session

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]

#: Results of all layers that are held at a time, in values: about 130 MB.
_AT_ONCE = 2**24
_MOST_IMAGES = 100


@dataclass(frozen=True)
class LayerError:
    """One layer of the original.

    `sqnr_db`: 10 log10 of the power of the original's result over the power of the difference, with all
    errors that came from the layers before. `own_sqnr_db`: the same with the original's input, so that only
    this layer's error counts. `cosine`: between both results. `clipped`: share of the original's values
    that lie outside what the variant's integers can hold; `saturated`: share of the variant's values at an
    end of that, but for an end that is zero, as after ReLU. NaN where there is nothing to compare; `note` says why.
    """

    layer: str
    operator: str = ""
    sqnr_db: float = math.nan
    own_sqnr_db: float = math.nan
    cosine: float = math.nan
    clipped: float = math.nan
    saturated: float = math.nan
    note: str = ""


def layer_errors(original: Path, variant: Path, inputs: Any, report: Reporter | None = None) -> list[LayerError]:
    """Compare two artefacts on a split, or inputs (N, ...), one entry a layer of the original, in execution order.

    Layers are found by the names of their nodes; both results are taken as the next layer reads them,
    after batch norm, activation and rounding. Raises: what ONNX Runtime raises for a broken file; `Cancelled`.
    """
    pair = Graphs(onnx.load(str(original)), onnx.load(str(variant)))
    sums = {layer: Sums(place) for layer, place in pair.after.items()}
    for first, second, alone in pair.run(inputs, report or Reporter()):
        for layer, one in sums.items():
            one.add(first[pair.before[layer].result], second[pair.after[layer].result], alone.get(layer))
    return [sums[layer].error(layer) if layer in sums else LayerError(layer, note=why) for layer, why in pair.notes()]


def to_frame(errors: list[LayerError]) -> pd.DataFrame:
    """One row a layer; the columns are the fields of `LayerError`."""
    import pandas as pd

    return pd.DataFrame([asdict(one) for one in errors], columns=list(LayerError.__dataclass_fields__))


class Graphs:
    """Two graphs, and where the layers of the first stand in both."""

    def __init__(self, original: onnx.ModelProto, variant: onnx.ModelProto) -> None:
        self.original, self.variant = original, variant
        self.names = layer_names(original)
        self.before = places(original, self.names)
        self.after = places(variant, self.names)
        made = {name for node in variant.graph.node for name in node.output}
        for layer in set(self.names) - self.after.keys():
            # Its nodes have new names; the tensor behind it may still have its own.
            same = self.before[layer].result
            if same in made:
                self.after[layer] = Place("replaced", "", same)

    def notes(self) -> list[tuple[str, str]]:
        """Every layer of the original, with what is to be said of one that the variant lacks."""
        return [(layer, "" if layer in self.after else "the variant has no such layer") for layer in self.names]

    def run(
        self, inputs: Any, report: Reporter
    ) -> Iterator[tuple[Mapping[str, Array], Mapping[str, Array], Mapping[str, Array]]]:
        """Batch after batch: the original's tensors, the variant's, and every layer's result by itself."""
        first = Run(self.original, {x for one in self.before.values() for x in (one.source, one.result)})
        second = Run(self.variant, {x for one in self.after.values() for x in (one.source, one.result) if x})
        images = as_split(inputs)
        known, found = (one(images.example) for one in (first, second))
        alone = Alone(self.variant, {k: self.after[k] for k in self._fed_alike(known, found)}, self.before)
        count = int(np.clip(_AT_ONCE // sum(value.size for value in known.values()), 1, _MOST_IMAGES))
        for index, batch in enumerate(batches(images, count)):
            report(index * count / len(images), "layer by layer")
            known = first(batch)
            yield known, second(batch), alone(known)
        report(1.0, "layer by layer")

    def _fed_alike(self, known: Mapping[str, Array], found: Mapping[str, Array]) -> list[str]:
        """The layers that read a tensor of the same shape in both."""
        return [
            layer
            for layer, place in self.after.items()
            if place.source and known[self.before[layer].source].shape == found[place.source].shape
        ]


class Run:
    """A graph that also returns some of its inner tensors, and its input."""

    def __init__(self, model: onnx.ModelProto, names: set[str]) -> None:
        made = {name for node in model.graph.node for name in node.output}
        self.names = sorted(names & made)
        self.session = open_session(with_outputs(model, self.names).SerializeToString())

    def __call__(self, batch: Any) -> dict[str, Array]:
        """The tensors by name."""
        given = feeds(self.session, batch)
        return {**given, **dict(zip(self.names, self.session.run(self.names, given), strict=True))}


class Alone:
    """Every layer of a variant by itself, fed with what the original's layer reads."""

    def __init__(self, model: onnx.ModelProto, found: Mapping[str, Place], before: Mapping[str, Place]) -> None:
        graph, self.ends = isolated(model, found)
        self.before = before
        self.session = open_session(graph.SerializeToString()) if self.ends else None

    def __call__(self, known: Mapping[str, Array]) -> dict[str, Array]:
        """Each layer's result, from the original's tensors."""
        if self.session is None:
            return {}
        sources = {name: known[self.before[layer].source] for layer, (name, _) in self.ends.items()}
        results = self.session.run([name for _, name in self.ends.values()], feeds(self.session, sources))
        return dict(zip(self.ends, results, strict=True))


class Sums:
    """What is summed over all inputs for one layer, in double precision."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.count = self.signal = self.power = self.dot = self.noise = self.clipped = self.saturated = 0.0
        self.own: float | None = 0.0
        self.shapes: tuple[tuple[int, ...], ...] = ()

    def add(self, original: Array, variant: Array, alone: Array | None) -> None:
        """One batch: the original's result, the variant's, and the variant's from the original's input."""
        if original.shape != variant.shape:
            self.shapes = (original.shape[1:], variant.shape[1:])
            return
        expected, found, place = original.astype(np.float64), variant.astype(np.float64), self.place
        self.count += expected.size
        self.signal += float(np.vdot(expected, expected))
        self.power += float(np.vdot(found, found))
        self.dot += float(np.vdot(expected, found))
        self.noise += float(np.square(found - expected).sum())
        if alone is None or self.own is None or alone.shape != original.shape:
            self.own = None
        else:
            self.own += float(np.square(alone.astype(np.float64) - expected).sum())
        if place.quantized:
            half = place.step / 2
            self.clipped += float(((expected > place.high + half) | (expected < place.low - half)).sum())
            bottom = found <= place.low + half if place.low < 0 else np.zeros(1, dtype=bool)
            self.saturated += float((found >= place.high - half).sum() + bottom.sum())

    def error(self, layer: str) -> LayerError:
        """The figures; of a layer of another shape only what it became."""
        if self.shapes:
            before, now = ("x".join(map(str, shape)) for shape in self.shapes)
            return LayerError(layer, self.place.operator, note=f"its result is {now} a sample, the original's {before}")
        length = math.sqrt(self.signal * self.power)
        integers = self.place.quantized
        return LayerError(
            layer,
            self.place.operator,
            decibels(self.signal, self.noise),
            math.nan if self.own is None else decibels(self.signal, self.own),
            self.dot / length if length else math.nan,
            self.clipped / self.count if integers else math.nan,
            self.saturated / self.count if integers else math.nan,
        )


def decibels(signal: float, noise: float) -> float:
    """10 log10 of a ratio of powers; infinite without noise, NaN without a signal."""
    if signal == 0 or not math.isfinite(noise):
        return math.nan if signal == 0 else -math.inf
    return math.inf if noise == 0 else 10 * math.log10(signal / noise)
