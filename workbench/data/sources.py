"""Where data sets come from: the bundled one, folders, files, and what a user has in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from workbench.data.bundled import BUNDLED, CALIBRATION_END
from workbench.data.classes import class_names, is_class_numbers
from workbench.data.collect import collect
from workbench.data.dataset import SPLITS, Data, Split, check_lengths
from workbench.data.folder import ALIASES, list_folder, read_pictures, survey
from workbench.data.labels import numbered, without_unlabelled
from workbench.data.npz import check_images, read_npz
from workbench.data.pixels import Form, as_inputs
from workbench.errors import BadFile, BadValue, shown, unknown

Pair = tuple[torch.Tensor, torch.Tensor | None]
Rows = TypeVar("Rows", torch.Tensor, npt.NDArray[Any])


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
    if str(source) in BUNDLED:
        if form != Form() or classes:
            raise BadValue(f"{source} is bundled with its classes, mean and std. Leave these options out.")
        return BUNDLED[str(source)]()
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
    raise unknown("data set", str(path), [*BUNDLED, "<path>.npz", "<folder of pictures>/"])


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
    for split, (inputs, _) in raw.items():
        known = labels[split]
        check_lengths(split, len(inputs), len(inputs) if known is None else len(known))
    pairs = complete({split: (raw[split][0], labels[split]) for split in raw})
    loads, notes = {}, []
    for split, (inputs, known) in pairs.items():
        inputs, known, said = without_unlabelled(split, inputs, known)
        loads[split] = partial(_as_pair, split, inputs, known, form)
        notes += [said] if said else []
    found = Data("data", {k: Split(k, one) for k, one in loads.items()}, classes, form.mean, form.std, "", tuple(notes))
    for one in found.splits.values():  # what is wrong is told here, not at the first use
        _ = one.inputs
    return found


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


def _as_pair(split: str, inputs: torch.Tensor, labels: torch.Tensor | None, form: Form) -> Pair:
    return as_inputs(split, inputs, form), labels


def _from_folder(root: Path, form: Form, classes: tuple[str, ...]) -> Data:
    """Pictures are read when a split is first used; their sizes are looked at now."""
    listed, said = list_folder(root)
    if "test" not in listed:
        raise BadFile(f"{root} has the splits {sorted(listed)}; it needs at least test/, which reports.")
    look = survey(listed, form)
    labels, classes = numbered({split: one[1] for split, one in listed.items()}, classes)
    rows = complete({split: (one[0], labels[split]) for split, one in listed.items()})

    def loader(split: str, paths: npt.NDArray[Any], known: torch.Tensor | None) -> Callable[[], Pair]:
        return lambda: (as_inputs(split, read_pictures(paths, look), form), known)

    splits = {split: Split(split, loader(split, *one)) for split, one in rows.items()}
    return Data(root.resolve().name, splits, classes, form.mean, form.std, "", (said,) if said else ())


def complete(pairs: Mapping[str, tuple[Rows, torch.Tensor | None]]) -> dict[str, tuple[Rows, torch.Tensor | None]]:
    """Derive validation and calibration from train where they are missing; never from test."""
    found = dict(pairs)
    if "train" not in found or {"validation", "calibration"} <= found.keys():
        return found
    train = _mixed(*found["train"])
    if "validation" not in found and len(train[0]) >= 10:
        cut = len(train[0]) - len(train[0]) // 5
        train, found["validation"] = _part(train, slice(cut)), _part(train, slice(cut, None))
    found["train"] = train
    found.setdefault("calibration", _part(train, slice(CALIBRATION_END)))
    return found


def _mixed(inputs: Rows, labels: torch.Tensor | None) -> tuple[Rows, torch.Tensor | None]:
    """In an order of chance where the classes stand one behind the other: a part would miss some of them."""
    if labels is None or not is_class_numbers(labels) or not len(inputs) == len(labels) > 0:
        return inputs, labels
    if int(labels.min()) == int(labels.max()) or not bool((labels[1:] >= labels[:-1]).all()):
        return inputs, labels
    order = np.random.default_rng(0).permutation(len(labels))
    return inputs[order], labels[order]


def _part(pair: tuple[Rows, torch.Tensor | None], rows: slice) -> tuple[Rows, torch.Tensor | None]:
    inputs, labels = pair
    return inputs[rows], None if labels is None else labels[rows]
