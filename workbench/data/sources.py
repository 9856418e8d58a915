"""Where data sets come from: the bundled one, folders, files, and what a user has in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from workbench.data.bundled import BUNDLED
from workbench.data.classes import class_names, is_class_numbers
from workbench.data.coco import is_coco, list_coco
from workbench.data.collect import LIMIT, collect, is_rows, names_of
from workbench.data.dataset import SPLITS, Data, Split
from workbench.data.folder import list_folder, split_of
from workbench.data.labels import numbered, unlabelled
from workbench.data.listing import UNDIVIDED, Found, Listing, divided, labels_at, without
from workbench.data.npz import Rows, check_images, open_npz
from workbench.data.pictures import Pictures, skipped, survey
from workbench.data.preprocess import PLAIN, Preprocess
from workbench.data.source import Held, Labelled, Source
from workbench.data.tables import COLUMNAR, list_columnar, list_csv
from workbench.errors import BadFile, BadValue, shown, unknown
from workbench.untrusted import Unread

#: How many inputs of train are looked at where nothing says which.
CALIBRATION = 1000


@dataclass(frozen=True)
class Options:
    """What `wb.data` was told beside the source."""

    form: Preprocess = PLAIN
    classes: tuple[str, ...] = ()
    unreadable: str = "refuse"


def load(source: Any, how: Options) -> Data:
    """As `wb.data`, whose options these are. Raises: `UnknownName`, `BadFile`, `BadValue`."""
    if isinstance(source, Mapping):
        return _from_mapping(source, how)
    if isinstance(source, (torch.Tensor, np.ndarray, tuple, list, DataLoader, Dataset)) or is_rows(source):
        return _from_mapping({"test": source}, how)
    if not isinstance(source, (str, Path)):
        raise BadValue(
            f"wb.data cannot read {shown(source)}, a {type(source).__name__}. Give 'fashion-mnist', a folder of "
            'pictures, the path of an .npz, or a mapping such as {"train": (inputs, labels), "test": dataset}.'
        )
    if str(source) in BUNDLED:
        if how != Options():
            raise BadValue(f"{source} is bundled with its classes, mean and std. Leave these options out.")
        return BUNDLED[str(source)]()
    path = Path(source).expanduser()
    return replace(_from_path(path, how), opened=(str(path.absolute()), how))


def _from_path(path: Path, how: Options) -> Data:
    found = _listed(path)
    if found is not None:
        return _from_files({split: (one, path) for split, one in found.listings.items()}, found.classes, how)
    if path.suffix == ".npz":
        return _from_npz(path, how)
    if path.suffix in {".pt", ".pth", ".pkl"} or path.exists():
        raise BadFile(
            f"{path} is no data set that wb.data reads. Read it with the library that wrote it, and give a mapping "
            'such as {"train": (inputs, labels), "test": (inputs, labels)}.'
        )
    raise unknown("data set", str(path), [*BUNDLED, "<path>.npz", "<folder of pictures>/"])


def _listed(path: Path) -> Found | None:
    """The pictures that a folder or a table holds; None where it is neither."""
    try:
        if path.is_dir():
            return _in_folder(path)
        if not path.is_file():
            return None
        if path.suffix == ".csv":
            return list_csv(path)
        if path.suffix in COLUMNAR:
            return list_columnar([path])
        return list_coco([path]) if path.suffix == ".json" and is_coco(path) else None
    except (OSError, ValueError) as error:  # a name with NUL, a folder that may not be read
        raise BadFile(f"{str(path)!r} cannot be read: {error}.") from error


def _in_folder(root: Path) -> Found:
    """What a folder holds: tables of pictures, descriptions of objects, or pictures in folders."""
    for folder in (root, root / "data", root / "annotations"):
        files = sorted(one for one in folder.iterdir() if one.is_file()) if folder.is_dir() else []
        tables = [one for one in files if one.suffix in COLUMNAR]
        objects = [one for one in files if one.suffix == ".json" and is_coco(one)]
        if tables or objects:
            return list_columnar(tables) if tables else list_coco(objects)
    return list_folder(root)


def _from_files(listed: Mapping[str, tuple[Listing, Path]], names: tuple[str, ...], how: Options) -> Data:
    """Pictures are read when a split is first used; their heads are looked at now."""
    if "test" not in listed and UNDIVIDED not in listed:
        where = next(iter(listed.values()))[1]
        raise BadFile(f"{where} has the splits {sorted(listed)}; it needs at least test/, which reports.")
    look = survey({split: one.files for split, (one, _) in listed.items()}, how.form, how.unreadable)
    notes = skipped({split: one.files for split, (one, _) in listed.items()}, look)
    kept = {split: (without(one, look.broken[split]), path) for split, (one, path) in listed.items()}
    known, classes = numbered({split: one.classes for split, (one, _) in kept.items()}, how.classes or names)
    sources, said = {}, ""
    for split, (one, path) in kept.items():
        sizes = [size for size in look.sizes[split] if size != (0, 0)]
        labels = labels_at(one, look, sizes, how.form)
        source = Pictures(split or "test", one.files, known[split] if labels is None else labels, look, how.form)
        if split != UNDIVIDED:
            sources[split] = Split(split, source)
            continue
        places, said = divided(one, path.stem)
        sources |= {name: Split(name, source).take(rows) for name, rows in places.items()}
    path = next(path for _, path in kept.values())
    found = assembled(path.resolve().stem, sources, how.form, classes)
    return replace(found, notes=tuple(one for one in (said, *notes, *found.notes) if one))


def _from_npz(path: Path, how: Options) -> Data:
    found = open_npz(path, LIMIT)
    names = [split for split in SPLITS if f"{split}_images" in found]
    if "test" not in names:
        raise BadFile(
            f"{path} holds {', '.join(sorted(found)) or 'nothing'}; it needs at least test_images, and test_labels "
            "where there are labels."
        )
    for split in names:
        check_images(path, f"{split}_images", found[f"{split}_images"])
    images = {split: found[f"{split}_images"] for split in names}
    large = {name: one for name, one in images.items() if isinstance(one, Unread)}
    arrays = {name: _whole(one) for name, one in found.items() if not name.endswith("_images")}
    try:
        given = Preprocess.of(arrays.get("mean", ()), arrays.get("std", ()), None)
        form = replace(how.form, mean=how.form.mean or given.mean, std=how.form.std or given.std)
        classes = how.classes or class_names(np.atleast_1d(arrays.get("classes", np.array([], str))).tolist())
        read = images | {split: Rows(split, one, form) for split, one in large.items()}
        raw = {split: (one, arrays.get(f"{split}_labels")) for split, one in read.items()}
        return replace(_from_mapping(raw, replace(how, form=form, classes=classes)), name=path.stem)
    except BadValue as error:
        raise BadFile(f"{path}: {error}") from error


def _whole(array: Any) -> Any:
    """An array in memory."""
    return array.rows(np.arange(len(array))) if isinstance(array, Unread) else array


def _from_mapping(source: Mapping[Any, Any], how: Options) -> Data:
    given = _splits_of(source)
    places = {split: Path(one).expanduser() for split, one in given.items() if isinstance(one, (str, Path))}
    if places and len(places) == len(given) and all(one.exists() for one in places.values()):
        return _from_places(places, how)
    names = next((names for names in map(names_of, given.values()) if names), ())
    raw = {split: collect(split, value, how.form) for split, value in given.items()}
    labels, classes = numbered({split: one[1] for split, one in raw.items()}, how.classes or names)
    held: dict[str, Split] = {}
    for split, (inputs, _) in raw.items():
        known = labels[split]
        source_of = inputs if isinstance(inputs, Source) else Held(split, inputs, known, how.form)
        held[split] = Split(split, source_of if isinstance(source_of, Held) else Labelled(source_of, known))
    found = assembled("data", held, how.form, classes)
    for one in found.splits.values():  # what is wrong is told here, not at the first use
        for _ in one.batches() if one.source.held else [one.example]:
            pass
    return found


def _from_places(places: Mapping[str, Path], how: Options) -> Data:
    """A folder or a table a split."""
    listed: dict[str, tuple[Listing, Path]] = {}
    names: tuple[str, ...] = ()
    for split, path in places.items():
        found = _listed(path)
        if found is None or len(found.listings) > 1:
            raise BadFile(f"{path} is no folder or table of the pictures of one split, here {split!r}.")
        (listing,) = found.listings.values()
        listed[split], names = (listing, path), names or found.classes
    return _from_files(listed, names, how)


def assembled(name: str, splits: Mapping[str, Split], form: Preprocess, classes: tuple[str, ...]) -> Data:
    """A data set of its splits: those that are missing derived, inputs without a label left out."""
    parts = {split: _with_labels(one) for split, one in complete(splits).items()}
    notes = tuple(said for _, said in parts.values() if said)
    return Data(name, {split: one for split, (one, _) in parts.items()}, classes, form, "", notes)


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
        split = split_of(key) if isinstance(key, str) else key
        if split not in SPLITS:
            raise unknown("split", key, SPLITS)
        if split in found:
            raise BadValue(f"The mapping has the split {split!r} twice, once as {key!r}. Leave one of them out.")
        found[split] = value
    if "test" not in found:
        raise BadValue(f"The mapping has the splits {sorted(found)}; it needs at least 'test', which reports.")
    return found


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
    found.setdefault("calibration", replace(train.first(CALIBRATION), name="calibration"))
    return found


def _mixed(split: Split) -> Split:
    """In an order of chance where the classes stand one behind the other: a part would miss some of them."""
    if not split.labelled or not is_class_numbers(split.labels):
        return split
    labels = split.labels
    if int(labels.min()) == int(labels.max()) or not bool((labels[1:] >= labels[:-1]).all()):
        return split
    return split.take(torch.from_numpy(np.random.default_rng(0).permutation(len(labels))))
