"""What a network and data are, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from workbench.cost.layer import CONVOLUTIONS
from workbench.data import Data
from workbench.data.source import leaves
from workbench.models import Model
from workbench.modules.calling import Inputs
from workbench.report.words import compact, count

KINDS = {"conv": ("convolution", "convolutions"), "linear": ("linear layer", "linear layers")}


def about_model(model: Model) -> str:
    """What was loaded, in plain words."""
    network, totals = model.network, model.network.totals
    kinds = Counter("conv" if ops[0].kind in CONVOLUTIONS else ops[0].kind for ops in network.by_module.values())
    parts = [count(kinds[kind], *names) for kind, names in KINDS.items() if kinds[kind]]
    sentence = (
        f"{model.name} has {' and '.join(parts) or 'no layers with weights'}: {compact(totals.params)} parameters and "
        f"{compact(totals.macs)} multiply–accumulates for one input of {shapes_text(model.example)}."
    )
    return " ".join([sentence, *model.notes])


def about_data(data: Data) -> str:
    """What is measured on, and how it is read."""
    test = data["test"]
    classes = f", {len(data.classes)} classes" if data.classes else ""
    what = "images" if test.pictures else "inputs"
    said = f"Measured on {data.name}: {len(test):,} test {what} of {shapes_text(test.example)}{classes}."
    read = [f"They are read as {data.preprocess}"] if test.pictures else []
    return " ".join([said, *data.notes, *read])


def shape_text(sizes: Sequence[int]) -> str:
    """Such as `3 × 32 × 32`, which no line break parts."""
    return "\u00a0×\u00a0".join(map(str, sizes))


def shapes_text(inputs: Inputs) -> str:
    """The shape of one input without the batch; of several each with its name or place."""
    found = [(f"input {name}" if name.isdecimal() else name, shape_text(one.shape[1:])) for name, one in leaves(inputs)]
    return ", ".join(f"{name} ({shape})" if name else shape for name, shape in found)
