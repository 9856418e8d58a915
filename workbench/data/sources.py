"""Where data sets come from: the bundled one, folders, files, and what a user has in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from workbench.data.classes import class_names, is_class_numbers
from workbench.data.collect import collect
from workbench.data.dataset import SPLITS, Data, Split
from workbench.data.folder import ALIASES, Pictures, list_folder, survey
from workbench.data.labels import numbered, unlabelled
from workbench.data.npz import check_images, read_npz
from workbench.data.pixels import Form, as_tensor
from workbench.data.source import Held, Later, Source
from workbench.errors import BadFile, BadValue, shown, unknown

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
FASHION = Form((0.2860,), (0.3530,))
VALIDATION_START, CALIBRATION_END = 8000, 1000


def load(source: Any, form: Form, classes: tuple[str, ...]) -> Data:
    """As `wb.data`, whose options these are. Raises: `UnknownName`, `BadFile`, `BadValue`."""
    if isinstance(source, Mapping):
        return _from_mapping(source, form, classes)
    if isinstance(source, (torch.Tensor, np.ndarray, tuple, list, DataLoader, Dataset)):
        return _from_mapping({"test": source}, form, classes)
    if not isinstance(source, (str, Path)):
        raise BadValue(
            f"wb.data cannot read {shown(source)}, a {type(source).__name__}. Give 'fashion-mnist', a folder of "
            'pictures, the path of an .npz, or a mapping such as {"train": (inputs, labels), "test": dataset}.'
        )
    if str(source) == "fashion-mnist":
        if form != Form() or classes:
            raise BadValue("fashion-mnist is bundled with its classes, mean and std. Leave these options out.")
        return _fashion_mnist()
    return _from_path(Path(source).expanduser(), form, classes)


def _from_path(path: Path, form: Form, classes: tuple[str, ...]) -> Data:
    try:
        if path.is_dir():
            return _from_folder(path, form, classes)
    except (OSError, ValueError) as error:  # a name with NUL, a folder that may not be read
        raise BadFile(f"{str(path)!r} cannot be read: {error}.") from error
    if path.suffix == ".npz":
        return _from_npz(path, form, classes)
    if path.suffix in {".parquet", ".csv", ".pt", ".pth", ".pkl"} or path.exists():
        raise BadFile(
            f"{path} is no data set that wb.data reads. Read it with the library that wrote it, and give a mapping "
            'such as {"train": (inputs, labels), "test": (inputs, labels)}.'
        )
    raise unknown("data set", str(path), ["fashion-mnist", "<path>.npz", "<folder of pictures>/"])


@cache
def _fashion_mnist() -> Data:
    path = Path(__file__).with_name("fashion-mnist.npz")
    arrays = cache(lambda: read_npz(path))

    def opened(part: str, rows: slice) -> Source:
        pixels = as_tensor(arrays()[f"{part}_images"][rows], part, batch=True)
        return Held(part, pixels, torch.from_numpy(arrays()[f"{part}_labels"][rows]).long(), FASHION)

    rows = {
        "train": ("train", slice(0, VALIDATION_START)),
        "calibration": ("train", slice(0, CALIBRATION_END)),
        "validation": ("train", slice(VALIDATION_START, None)),
        "test": ("test", slice(None)),
    }
    splits = {name: Split(name, Later(partial(opened, *where))) for name, where in rows.items()}
    return Data("fashion-mnist", splits, FASHION_CLASSES, FASHION.mean, FASHION.std, licence="MIT")


def _from_npz(path: Path, form: Form, classes: tuple[str, ...]) -> Data:
    arrays = read_npz(path)
    names = [split for split in SPLITS if f"{split}_images" in arrays]
    if "test" not in names:
        raise BadFile(
            f"{path} holds {', '.join(sorted(arrays)) or 'nothing'}; it needs at least test_images, and test_labels "
            "where there are labels."
        )
    for split in names:
        check_images(path, f"{split}_images", arrays[f"{split}_images"])
    raw = {split: (arrays[f"{split}_images"], arrays.get(f"{split}_labels")) for split in names}
    try:
        given = Form.of(arrays.get("mean", ()), arrays.get("std", ()), None)
        form = Form(form.mean or given.mean, form.std or given.std, form.size)
        classes = classes or class_names(np.atleast_1d(arrays.get("classes", np.array([], str))).tolist())
        return replace(_from_mapping(raw, form, classes), name=path.stem)
    except BadValue as error:
        raise BadFile(f"{path}: {error}") from error


def _from_mapping(source: Mapping[Any, Any], form: Form, classes: tuple[str, ...]) -> Data:
    raw = {split: collect(split, value, form) for split, value in _splits_of(source).items()}
    labels, classes = numbered({split: one[1] for split, one in raw.items()}, classes)
    held = {split: Held(split, inputs, labels[split], form) for split, (inputs, _) in raw.items()}
    found = assembled("data", held, form, classes)
    for split in found.splits.values():  # what is wrong is told here, not at the first use
        for _ in split.batches():
            pass
    return found


def assembled(name: str, sources: Mapping[str, Source], form: Form, classes: tuple[str, ...]) -> Data:
    """A data set of one source a split: those that are missing derived, inputs without a label left out."""
    splits = complete({split: Split(split, one) for split, one in sources.items()})
    parts = {split: _with_labels(one) for split, one in splits.items()}
    notes = tuple(said for _, said in parts.values() if said)
    return Data(name, {split: one for split, (one, _) in parts.items()}, classes, form.mean, form.std, "", notes)


def _with_labels(split: Split) -> tuple[Split, str]:
    """The inputs that have a label, and a sentence on what was left out; "" where nothing was.

    All inputs stay, without labels, where none has one, and for calibration, which looks at inputs alone.
    """
    known, said = unlabelled(split.name, split.labels if split.labelled else None)
    if known is None:
        return split, ""
    if split.name == "calibration" or not bool(known.any()):
        return split.with_labels(None), said
    return split.take(known.nonzero()[:, 0]), said


def _splits_of(source: Mapping[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in source.items():
        split = ALIASES.get(key, key) if isinstance(key, str) else key
        if split not in SPLITS:
            raise unknown("split", key, SPLITS)
        if split in found:
            raise BadValue(f"The mapping has the split {split!r} twice, once as {key!r}. Leave one of them out.")
        found[split] = value
    if "test" not in found:
        raise BadValue(f"The mapping has the splits {sorted(found)}; it needs at least 'test', which reports.")
    return found


def _from_folder(root: Path, form: Form, classes: tuple[str, ...]) -> Data:
    """Pictures are read when a split is first used; their sizes are looked at now."""
    listed, said = list_folder(root)
    if "test" not in listed:
        raise BadFile(f"{root} has the splits {sorted(listed)}; it needs at least test/, which reports.")
    look = survey(listed, form)
    labels, classes = numbered({split: one[1] for split, one in listed.items()}, classes)
    pictures = {split: Pictures(split, one[0], labels[split], look, form) for split, one in listed.items()}
    return replace(assembled(root.resolve().name, pictures, form, classes), notes=(said,) if said else ())


def complete(splits: Mapping[str, Split]) -> dict[str, Split]:
    """Derive validation and calibration from train where they are missing; never from test."""
    found = dict(splits)
    if "train" not in found or {"validation", "calibration"} <= found.keys():
        return found
    train = _mixed(found["train"])
    if "validation" not in found and len(train) >= 10:
        cut = len(train) - len(train) // 5
        found["validation"] = replace(train.take(range(cut, len(train))), name="validation")
        train = train.first(cut)
    found["train"] = train
    found.setdefault("calibration", replace(train.first(CALIBRATION_END), name="calibration"))
    return found


def _mixed(split: Split) -> Split:
    """In an order of chance where the classes stand one behind the other: a part would miss some of them."""
    if not split.labelled or not is_class_numbers(split.labels):
        return split
    labels = split.labels
    if int(labels.min()) == int(labels.max()) or not bool((labels[1:] >= labels[:-1]).all()):
        return split
    return split.take(torch.from_numpy(np.random.default_rng(0).permutation(len(labels))))
