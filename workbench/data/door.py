"""`wb.data(source)`: a data set from any accepted source."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workbench.data.classes import class_names
from workbench.data.dataset import Data
from workbench.errors import BadValue, shown, unknown
from workbench.interface.neutral import neutrally

if TYPE_CHECKING:
    from workbench.data.sources import Options


@neutrally
def data(
    source: Any,
    *,
    name: str = "",
    classes: Sequence[str] = (),
    mean: Any = (),
    std: Any = (),
    size: int | tuple[int, int] | None = None,
    **options: Any,
) -> Data:
    """A data set, from any of these sources; pictures need Pillow, tables of them pyarrow.

    - `"fashion-mnist"` (bundled: 8,000 train, of which 1,000 calibration; 2,000 validation; 10,000 test);
      `"fashion-scenes"`, made from it: 64 x 64 with the class of every pixel; `"tones"`: figures of tones in noise.
    - A folder of pictures, `folder/<class>/*.png` or `folder/<split>/<class>/*.png`, or of pictures alone, which have
      no labels; `images/` and `masks/` of equal names. Without folders for splits every fifth picture is for the test.
    - A `.csv` of paths, labels and perhaps `split`; `.parquet` or `.arrow` with a column of pictures, or a folder of
      such files, named by their split; COCO's JSON, whose labels are a list of `{"boxes": (n, 4), "labels": (n,)}`.
    - An `.npz` of `<split>_images` and `<split>_labels`; images are uint8 (N, H, W[, C]) or float (N, C, H, W);
      arrays `mean`, `std` and `classes` stand in for the options of these names.
    - A mapping from split name to (inputs, labels) as tensors, arrays or lists, to a torch or Hugging Face data set, a
      `DataLoader`, or a path; one of these alone is the test split. For a network of several inputs, inputs are a tuple
      or a dictionary of tensors. Without labels agreement with the original is measured.

    Files, and data sets with `[index]` of more than 512 MB, are read when needed; decoded pixels are kept in the user's
    cache folder, at most 10 GB (`WORKBENCH_CACHE_GB`). The rest is read now and held in memory.

    Inputs become float32 (N, ...), whole numbers such as token ids int64. Pixels (uint8) become
    `(pixel / 255 - mean) / std`, with one number a channel or one for all; other numbers must then lie between 0 and
    1. Images are brought to `size`: scaled until they cover it, and cut at the centre.

    Labels are class numbers from 0, one-hot rows, or texts; -1 (or -100) says that an input has none, and it is left
    out. Other labels, values to predict or the classes of pixels, are for the study's `metric`. Without a validation
    split the last fifth of train becomes it; without a calibration split the first 1,000 train inputs are it.

    Options: `preprocess`, a `workbench.data.Preprocess` or a dictionary of its fields, in place of `mean`, `std` and
    `size`; `like`, a model whose weights, of torchvision or timm, say how they take pictures; `unreadable`, "refuse"
    or "skip" pictures that cannot be read. Raises: `UnknownName`, `BadFile`, `BadValue`.

    >>> len(wb.data({"test": (torch.rand(20, 3, 16, 16), torch.arange(20) % 2)}).get("test"))
    20
    """
    from workbench.data.sources import load  # loads torch

    found = load(source, _options({"mean": mean, "std": std, "size": size}, class_names(classes), options))
    if name:
        found = replace(found, name=str(name))
    for note in found.notes:
        warnings.warn(note, stacklevel=_outside())
    return found


def _options(simple: dict[str, Any], classes: tuple[str, ...], options: dict[str, Any]) -> Options:
    """What was asked for, checked. Raises: `BadValue`, `UnknownName`."""
    from workbench.data.conventions import preprocess_of
    from workbench.data.preprocess import PLAIN, Preprocess
    from workbench.data.sources import Options

    known = ("preprocess", "like", "unreadable")
    odd = next((one for one in options if one not in known), None)
    if odd is not None:
        raise unknown("option of wb.data", odd, ["name", "classes", *simple, *known])
    unreadable = options.get("unreadable", "refuse")
    if unreadable not in {"refuse", "skip"}:
        raise BadValue(f"unreadable={shown(unreadable)}: give 'refuse' or 'skip'.")
    plain = Preprocess.of(**simple)
    given = [one for one in known[:2] if options.get(one) is not None]
    if len(given) > 1 or (given and plain != PLAIN):
        raise BadValue(f"Give one of preprocess=, like=, or mean=, std= and size=; {' and '.join(given)} says it all.")
    if given == ["like"]:
        plain = preprocess_of(options["like"])
    elif given:
        plain = Preprocess.read(options["preprocess"])
    return Options(plain, classes, unreadable)


def _outside() -> int:
    """How many calls up the user's code is: a warning points there."""
    depth = 1
    while sys._getframe(depth).f_globals.get("__name__", "").startswith("workbench"):
        depth += 1
    return depth
