"""What a door has found before any picture is decoded: files by split, with what they are labelled by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from workbench.data.pictures import Files, Look, opened
from workbench.data.pixels import placed
from workbench.data.preprocess import Preprocess
from workbench.data.source import Labels
from workbench.errors import BadFile

Array = npt.NDArray[Any]
#: Where nothing says which pictures are for the test: every fifth of each class.
TEST_EVERY = 5
#: The name of a listing whose door knows no splits.
UNDIVIDED = ""


@dataclass(frozen=True)
class Listing:
    """Pictures of one split. At most one of the others: classes (N,), masks, or objects in pixels of the file."""

    files: Files
    classes: Array | None = None
    masks: Files | None = None
    objects: list[dict[str, torch.Tensor]] | None = None


@dataclass(frozen=True)
class Found:
    """The listings of a door by split, or one that is `UNDIVIDED`; the names of classes where these are known."""

    listings: Mapping[str, Listing]
    classes: tuple[str, ...] = ()


def divided(listing: Listing, of: str) -> tuple[dict[str, Any], str]:
    """Places (n,) by split of pictures that nobody has divided, and a sentence that says so.

    Without labels all are for the test. Raises: `BadFile` where there are too few.
    """
    n = len(listing.files)
    if listing.classes is None and listing.masks is None and listing.objects is None:
        return {"test": np.arange(n)}, ""
    kinds = np.zeros(n, dtype=int) if listing.classes is None else listing.classes
    test = np.zeros(n, dtype=bool)
    for name in np.unique(kinds):
        test[np.flatnonzero(kinds == name)[TEST_EVERY - 1 :: TEST_EVERY]] = True
    if not test.any():
        raise BadFile(
            f"{of} has fewer than {TEST_EVERY} pictures in every class, too few to set some aside for the test. "
            "Make folders train/ and test/ with the classes below them."
        )
    which = "picture of each class" if listing.classes is not None else "picture"
    said = f"{of}/ has no folder test/, so every {TEST_EVERY}th {which} is the test split."
    return {"train": np.flatnonzero(~test), "test": np.flatnonzero(test)}, said


def labels_at(listing: Listing, look: Look, sizes: list[tuple[int, int]], form: Preprocess) -> Labels | None:
    """Masks uint8 (N, H, W) or objects, where the pictures are to be: scaled and cut as these are; None for classes."""
    if listing.objects is not None:
        return [_moved(one, size, form) for one, size in zip(listing.objects, sizes, strict=True)]
    if listing.masks is None:
        return None
    found = torch.empty(len(listing.masks), *look.size, dtype=torch.uint8)
    for index in range(len(listing.masks)):
        found[index] = _mask(listing.masks, index, look.size, sizes[index], form)
    return found


def _mask(files: Files, index: int, size: tuple[int, int], old: tuple[int, int], form: Preprocess) -> torch.Tensor:
    """The class of each pixel, uint8 (H, W). Raises: `BadFile`."""
    with opened(files, index) as picture:
        if picture.mode not in {"P", "L", "1", "I", "I;16"}:
            raise BadFile(
                f"{files.name(index)} is a mask in colours ({picture.mode}), and a mask holds the number of each "
                "pixel's class. Write it as PNG with indices, or in grey."
            )
        if (picture.height, picture.width) != old:
            raise BadFile(
                f"The mask {files.name(index)} is {picture.height} x {picture.width}, and its picture {old[0]} x "
                f"{old[1]}. Give each mask the size of its picture."
            )
        scaled, (top, left) = placed(old, form) if form.size else (old, (0, 0))
        if scaled != old:
            picture = picture.resize((scaled[1], scaled[0]), 0)  # the nearest: classes have no mean
        values = np.asarray(picture).astype(np.uint8)
    return torch.from_numpy(values[top : top + size[0], left : left + size[1]].copy())


def _moved(objects: dict[str, torch.Tensor], old: tuple[int, int], form: Preprocess) -> dict[str, torch.Tensor]:
    """Boxes where they are after a picture was scaled and cut; those that are cut away are left out."""
    if form.size is None:
        return objects
    scaled, (top, left) = placed(old, form)
    factor = torch.tensor([scaled[1] / old[1], scaled[0] / old[0]]).repeat(2)
    boxes = objects["boxes"] * factor - torch.tensor([left, top]).repeat(2)
    boxes = boxes.clamp(min=torch.zeros(4), max=torch.tensor([form.size[1], form.size[0]]).repeat(2).float())
    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return {name: (boxes if name == "boxes" else one)[inside] for name, one in objects.items()}


def without(listing: Listing, broken: list[int]) -> Listing:
    """The listing without the pictures that cannot be read."""
    if not broken:
        return listing
    kept = [index for index in range(len(listing.files)) if index not in set(broken)]
    return replace(
        listing,
        files=Some(listing.files, kept),
        classes=None if listing.classes is None else listing.classes[kept],
        masks=None if listing.masks is None else Some(listing.masks, kept),
        objects=None if listing.objects is None else [listing.objects[index] for index in kept],
    )


class Some(Files):
    """Some of other files."""

    def __init__(self, files: Files, places: list[int]) -> None:
        self.files, self.places = files, places

    def __len__(self) -> int:
        return len(self.places)

    def name(self, index: int) -> str:
        """As of the other."""
        return self.files.name(self.places[index])

    def open(self, index: int) -> Any:
        """As of the other."""
        return self.files.open(self.places[index])

    def digest(self, index: int) -> bytes:
        """As of the other."""
        return self.files.digest(self.places[index])

    def version(self, index: int) -> str:
        """As of the other."""
        return self.files.version(self.places[index])
