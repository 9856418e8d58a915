"""When a network does no better than chance: which other pre-processing it may have been trained with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from workbench.data import Data, Preprocess, Split
from workbench.data.batches import arrays
from workbench.data.classes import check_classes, is_class_numbers
from workbench.data.preprocess import IMAGENET_MEAN, IMAGENET_STD
from workbench.errors import BadValue
from workbench.estimate import Estimate, wilson
from workbench.jobs import Reporter
from workbench.runtimes import Session, runtime

#: Images that each suspect is tried on: a network that is right half of the time shows it on these.
IMAGES = 300
_BATCH = 50
#: What Caffe's networks subtract, in its order BGR.
_CAFFE = (103.939, 116.779, 123.68)


@dataclass(frozen=True)
class Trial:
    """A pre-processing, and the accuracy with it on images of the validation split."""

    said: str
    how: Preprocess
    accuracy: Estimate


def near_chance(accuracy: Estimate | None, data: Data) -> bool:
    """Whether an accuracy may be that of guessing."""
    return accuracy is not None and len(data.classes) > 1 and accuracy.low < 2 / len(data.classes) > accuracy.value


def told(artefact: Path, data: Data, report: Reporter) -> str:
    """A sentence on what each suspect gives; "" where the data are no pictures with classes to try on.

    Nothing is chosen: what to do is the user's. The test split is not looked at. Raises: `Cancelled`.
    """
    split = data.get("validation")
    if split is None or not (split.labelled and is_class_numbers(split.labels) and split.pictures):
        return ""
    found = trials(artefact, split, data.preprocess, report)
    if not found:
        return ""
    given, others = found[0], sorted(found[1:], key=lambda one: -one.accuracy.value)
    best = others[0]
    listed = "; ".join(f"{one.said} {one.accuracy.value:.1%}" for one in others)
    said = (
        f"The original is right on {given.accuracy.value:.1%} of {given.accuracy.n} validation images, near chance "
        f"({1 / len(data.classes):.1%}). With other pre-processing it would be: {listed}."
    )
    if best.accuracy.low > given.accuracy.high:
        fields = {name: value for name, value in vars(best.how).items() if value != getattr(Preprocess(), name)}
        return f"{said} Load the data anew with preprocess={fields!r}."
    return f"{said} None is better: look at the order of the classes, and whether these are the right weights."


def trials(artefact: Path, split: Split, how: Preprocess, report: Reporter) -> list[Trial]:
    """The pre-processing as it is, then each suspect that the images allow; none where they leave 0 to 1."""
    few, session = split.first(IMAGES), runtime().load(artefact)
    channels = split.shape[0]
    if not all(_are_pixels(undone(inputs, how)) for inputs, _ in few.batches(_BATCH)):
        return []
    suspects = [("as given", how), *((said, one) for said, one in _suspects(how, channels) if one != how)]
    found = []
    for index, (said, other) in enumerate(suspects):
        report(index / len(suspects), "trying other pre-processing")
        found.append(Trial(said, other, _accuracy(session, few, how, other)))
    return found


def _suspects(how: Preprocess, channels: int) -> Iterator[tuple[str, Preprocess]]:
    plain = replace(how, mean=(), std=(), range=1.0)
    yield "pixels from 0 to 1", plain
    yield "pixels from -1 to 1", replace(plain, mean=(0.5,), std=(0.5,))
    yield "pixels from 0 to 255", replace(plain, range=255.0)
    if channels == 3:
        yield "ImageNet's mean and std", replace(plain, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        yield "the channels in the other order", replace(how, order="RGB" if how.order == "BGR" else "BGR")
        yield "Caffe's mean, BGR", replace(plain, mean=_CAFFE, range=255.0, order="BGR")


def undone(inputs: torch.Tensor, how: Preprocess) -> torch.Tensor:
    """Pixels (n, C, H, W) between 0 and 1, red first, of inputs that were made so."""
    pixels = (inputs * _channels(how.std or (1.0,)) + _channels(how.mean or (0.0,))) / how.range
    return pixels.flip(1) if how.order == "BGR" else pixels


def done(pixels: torch.Tensor, how: Preprocess) -> torch.Tensor:
    """Inputs of pixels (n, C, H, W) between 0 and 1."""
    ordered = pixels.flip(1) if how.order == "BGR" else pixels
    return (ordered * how.range - _channels(how.mean or (0.0,))) / _channels(how.std or (1.0,))


def _channels(values: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(values).view(1, -1, 1, 1)


def _are_pixels(pixels: torch.Tensor) -> bool:
    return bool(pixels.min() >= -1e-3) and bool(pixels.max() <= 1 + 1e-3)


def _accuracy(session: Session, split: Split, how: Preprocess, other: Preprocess) -> Estimate:
    right = 0
    for inputs, labels in split.batches(_BATCH):
        scores = session.run(arrays(done(undone(inputs, how), other)))
        if scores.ndim != 2:
            raise BadValue(f"The network returns shape {scores.shape}, and no classes.")
        check_classes(labels, scores.shape[1], f"split {split.name!r}")
        right += int((scores.argmax(1) == labels.numpy()).sum())
    return wilson(right, len(split))
