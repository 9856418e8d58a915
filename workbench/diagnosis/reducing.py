"""A variant's fault, in one layer or anywhere, reduced to the smallest part that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx

from workbench.data import Split
from workbench.data.batches import arrays, batches
from workbench.diagnosis.places import layer_names, places
from workbench.errors import BadValue, shown, unknown
from workbench.jobs import Reporter
from workbench.reduction.finding import Layer
from workbench.reduction.pieces import plain
from workbench.reduction.reduction import LOOKED_AT, WAYS, Ask, reduced
from workbench.reduction.result import Reduction
from workbench.reduction.values import fitted
from workbench.variant import Variant

ORIGINAL = "original"


def reduction(  # noqa: PLR0913  # a question has these
    variant: Variant,
    original: Variant,
    layer: str | None,
    split: Split,
    ask: Ask,
    *,
    against: str = ORIGINAL,
    report: Reporter | None = None,
) -> Reduction:
    """As `Study.reduce`, on the first inputs of a split.

    Raises: `UnknownName` for a layer that the original has not, `BadValue` for one that the variant has not, or where
    there is no fault.
    """
    if against not in {ORIGINAL, *WAYS}:
        raise BadValue(f"against is {shown(against)}. Give one of {', '.join((ORIGINAL, *WAYS))}.")
    suspect, right = (plain(onnx.load(str(one.onnx))) for one in (variant, original))
    standing = None if layer is None else layer_of(suspect, right, layer)
    given = [fitted(suspect, _listed(arrays(one))) for one in batches(split.first(LOOKED_AT), 1)]
    held = right if against == ORIGINAL else None
    return reduced(suspect, held, given, ask, how=WAYS.get(against, "off"), layer=standing, progress=report)


def _listed(inputs: Any) -> Any:
    return inputs if isinstance(inputs, (tuple, list, Mapping)) else [inputs]


def layer_of(suspect: onnx.ModelProto, right: onnx.ModelProto, layer: str) -> Layer:
    """Where a layer stands in both graphs. Raises: `UnknownName`, `BadValue` where the variant has none like it."""
    before = places(right, layer_names(right))
    if layer not in before:
        raise unknown("layer with weights", layer, before)
    after = places(suspect, [layer]).get(layer)
    if after is None:
        raise BadValue(f"The variant has no layer {layer!r} any more. Leave the layer out to search the whole network.")
    return Layer(after.source, after.result, before[layer].source, before[layer].result)
