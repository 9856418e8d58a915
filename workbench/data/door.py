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

if TYPE_CHECKING:
    from workbench.data.sources import Options


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
    """A data set, from any of these sources.

    - `"fashion-mnist"` (bundled: 8,000 train, of which 1,000 calibration; 2,000 validation; 10,000 test);
      `"fashion-scenes"`, made from it: 64 x 64 with the class of every pixel; `"tones"`: eight figures of tones in
      noise, as spectrograms.
    - A folder of pictures, as `folder/<class>/*.png` or `folder/<split>/<class>/*.png`; classes are in the order of
      their names. Without folders for splits every fifth picture of each class is the test split. Pictures alone have
      no labels. `images/` and `masks/` hold pictures and the classes of their pixels, by equal names. Needs Pillow.
    - A `.csv` of paths, labels and, if there is one, `split`; paths are beside the table, or absolute.
    - `.parquet` or `.arrow` with a column of pictures (bytes, or `{bytes, path}`), or a folder of such files, whose
      names begin with their split. Needs pyarrow.
    - COCO's JSON of objects, or a folder that holds such; labels are a list of `{"boxes": (n, 4), "labels": (n,)}`.
    - An `.npz` of `<split>_images` and `<split>_labels`; images are uint8 (N, H, W[, C]) or float (N, C, H, W);
      arrays `mean`, `std` and `classes` stand in for the options of these names.
    - A mapping from split name to (inputs, labels) as tensors, arrays or lists, to a torch `Dataset`, a Hugging Face
      data set or a `DataLoader`, or to paths as above; one of these alone is the test split. Without labels, give
      inputs alone: what is measured then is agreement with the original network. A network of several inputs takes a
      tuple of tensors, or a dictionary by its names, for inputs.

    Files are read when they are needed, and pixels kept in the user's cache folder, at most 10 GB
    (`WORKBENCH_CACHE_GB`). So is a data set with `[index]` of more than 512 MB; what is smaller, and a `DataLoader`, is
    read now and held in memory.

    Inputs become float32 (N, ...), whole numbers such as token ids int64 for a network that takes these. Pixels
    (uint8) are divided by 255; with `mean` and `std`, one number a channel or one for all, inputs are
    `(pixel / 255 - mean) / std`, and other numbers must lie between 0 and 1. Images of several sizes are brought to
    `size`: scaled until they cover it, and cut at the centre. Your own tensors are never changed.

    Labels are class numbers from 0, one-hot rows, or texts; -1 (or -100) says that an input has none, and it is left
    out. Other labels, values to predict or the classes of pixels, are for the study's `metric`.

    Where there is a train split but no validation, the last fifth of train becomes validation, after shuffling where
    the classes are in order; calibration is then the first 1,000 train inputs.

    Options beside these:

    - `preprocess`: a `workbench.data.Preprocess`, or a dictionary of its fields (size, crop, interpolation, mean, std,
      order, layout, range), in place of `mean`, `std` and `size`.
    - `like`: a model or an `nn.Module` of torchvision or timm, whose weights say how they take pictures.
    - `unreadable`: "refuse" (the default) pictures that cannot be read, or "skip" them; both name them.

    Raises: `UnknownName`, `BadFile`, `BadValue`.
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
