"""What the region of model and data shows: cards, what else can be loaded, what was loaded, sample images."""

from __future__ import annotations

import importlib.util
import math
from functools import lru_cache

from workbench.charts import COLUMNS
from workbench.charts.diagnosis import png
from workbench.data import Data, Split
from workbench.data.batches import arrays
from workbench.models import Model
from workbench.models.structure import ZOOS
from workbench.report.about import about_data, about_model, shapes_text
from workbench.report.words import compact, count
from workbench.study import Study
from workbench.tasks import Task
from workbench.untrusted.quota import MEGABYTE
from workbench_widgets import uploads
from workbench_widgets.desk import Kept
from workbench_widgets.gallery import trained_on
from workbench_widgets.noise import NOISE
from workbench_widgets.overlays import overlaid
from workbench_widgets.seam.model_view import DataAbout, Earlier, Fact, ModelsView, Sample, Sources, Zoo
from workbench_widgets.store import Card, State

#: Sample images: at most this many, one of each class where there are classes.
SAMPLES = 10
#: Larger images are shown at every second, third, ... pixel.
LARGEST = 64
HINTS = {"torchvision": "resnet18", "timm": "mobilenetv3_small_050"}


def models(state: State) -> ModelsView:
    """The gallery, and what the data are."""
    study = state.study
    return {
        "cards": [{"name": card.name, "figures": _card(card)} for card in state.cards],
        "selected": state.model,
        "busy": study is None,
        "waiting": "" if state.cards else "Loading the bundled models.",
        "about": about_model(study.model) if study else "",
        "kept": _kept(study) if study else "",
        "earlier": [_earlier(one, study) for one in state.earlier],
        "problems": list(study.notes) if study else [],
        "data": _data(study.data, study.model, state.home) if study else None,
        "others": _others() if state.menu else None,
    }


def _kept(study: Study) -> str:
    """Where the variants are, for whoever runs this cell again or comes back tomorrow."""
    if uploads.published():
        return "What is measured here goes with this page: export what you want to keep."
    if study.kept:
        return f"Variants are kept in {study.kept}, and are here again when this model and these data are."
    return "Variants go when this kernel ends. Give the study a path to keep them: wb.Study(model, data, path='runs')."


def _card(card: Card) -> list[Fact]:
    figures = {}
    if card.accuracy is not None and not math.isnan(card.accuracy):
        figures["accuracy"] = COLUMNS["accuracy"].text(card.accuracy)
    figures |= {"MACs": compact(card.macs), "parameters": compact(card.params)}
    return [{"label": label, "text": text} for label, text in figures.items()]


def _earlier(one: Kept, study: Study | None) -> Earlier:
    day = one.opened.replace("T", " ").partition("+")[0]
    return {
        "folder": one.folder.name,
        "name": f"{one.model} on {one.data}",
        "about": f"{count(one.variants, 'variant', 'variants')}, last shown {day} UTC",
        "problem": one.problem,
        "shown": study is not None and study.path == one.folder,
    }


def _data(data: Data, model: Model, home: str) -> DataAbout:
    sentence = about_data(data)
    if data.name == NOISE:
        test = data["test"]
        sentence = (
            f"No images of {shapes_text(test.example)} are loaded, so {len(test)} of noise stand in: latency, size and "
            f"agreement with {model.name} are measured. How good its answers are needs data: upload an .npz with "
            "images and labels."
        )
    return {
        "sentence": sentence,
        "samples": [] if data.name == NOISE else _samples(data),
        "back": "" if data.name in {home, trained_on(model), NOISE} else f"Use {home} again",
    }


@lru_cache(maxsize=4)
def _cached(split: Split, classes: tuple[str, ...], task: Task | None) -> tuple[tuple[str, str], ...]:
    picks = _picks(split, len(classes))
    step = max(1, -(-max(split.shape[-2:]) // LARGEST))
    inputs, labels = split.read([index for index, _ in picks])
    known = labels if labels is not None else [None] * len(picks)
    drawn = [overlaid(one, label, task) for one, label in zip(arrays(inputs), known, strict=True)]
    images = [image[..., ::step, ::step] for image in drawn]
    names = [classes[label] if 0 <= label < len(classes) else f"image {index}" for index, label in picks]
    return tuple((name, png(image)) for name, image in zip(names, images, strict=True))


def _samples(data: Data) -> list[Sample]:
    """Images with the names of their classes; none for data that are no pictures."""
    split = data.get("validation") or data["test"]
    if not split.pictures:
        return []
    return [{"name": name, "picture": picture} for name, picture in _cached(split, data.classes, data.task)]


def _picks(split: Split, classes: int) -> list[tuple[int, int]]:
    """(index, class) of the first image of each class; the first images where there are no classes (class -1)."""
    if not classes or not split.labelled or getattr(split.labels, "ndim", 0) != 1 or split.labels.is_floating_point():
        return [(index, -1) for index in range(min(SAMPLES, len(split)))]
    labels = split.labels[:2000].tolist()
    return [(labels.index(label), label) for label in sorted(set(labels))][:SAMPLES]


def _others() -> Sources:
    """What can be loaded beside the bundled models, and within which limits."""
    size = f"{uploads.limit() / MEGABYTE:,.0f} MB"
    kinds = ", ".join(uploads.ACCEPTED)
    larger = "Larger ones need a workbench of your own." if uploads.published() else "Open larger ones by their path."
    return {
        "accept": kinds,
        "limit": uploads.limit(),
        "hint": f"Up to {size}: a model (.onnx, or .safetensors that the workbench exported) or images with labels "
        f"(.npz). Nothing in them is executed. {larger}",
        "too_large": f"is larger than the {size} that can be uploaded. {larger}",
        "paths": not uploads.published(),
        "zoos": [_zoo(name) for name in ZOOS],
    }


def _zoo(name: str) -> Zoo:
    installed = importlib.util.find_spec(name) is not None
    hint = "Its networks, with random or trained weights." if installed else "Not installed. To add it:"
    return {
        "name": name,
        "installed": installed,
        "hint": hint,
        "command": "" if installed else "pip install 'nn-workbench[zoo]'",
        "example": HINTS[name],
    }
