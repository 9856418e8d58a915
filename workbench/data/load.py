"""`wb.data(source)`: a data set from any accepted source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.data.dataset import SPLITS, Data, Split
from workbench.errors import BadFile, BadValue, unknown
from workbench.untrusted import read_npz

if TYPE_CHECKING:
    import torch

Pair = tuple["torch.Tensor", "torch.Tensor | None"]

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
FASHION_MEAN, FASHION_STD = 0.2860, 0.3530
VALIDATION_START, CALIBRATION_END = 8000, 1000
#: Classes that a file may name.
MOST_CLASSES = 100_000
#: What stands for a file's `mean` and `std` where it has none.
_UNSCALED = {"mean": np.zeros(1), "std": np.ones(1)}


def data(source: str | Path | Mapping[str, Any], **options: Any) -> Data:
    """A data set, its splits loaded when first used.

    `source` is `"fashion-mnist"` (bundled: 8,000 train, of which 1,000 calibration; 2,000 validation;
    10,000 test), the path of an `.npz`, or a mapping from split name to a torch `Dataset` or
    `DataLoader` of (input, label) pairs, or to an (inputs, labels) pair of tensors. Labels are class numbers,
    or whatever the study's metric takes. Without labels, give inputs alone: a tensor, or a data set of inputs;
    what is measured then is agreement with the original network.

    An `.npz` holds `<split>_images` and `<split>_labels`; images are uint8 (N, H, W) or (N, H, W, C),
    normalised by the optional arrays `mean` and `std`, or float32 (N, C, H, W), taken as they are;
    an optional array `classes` names the classes. Where there is a train split but no validation,
    the last fifth of train becomes validation; calibration is then the first 1,000 train images.

    Options for a mapping: `name`, `classes`, `mean`, `std`.

    Raises: `UnknownName`, `BadFile`, `BadValue`.
    """
    if isinstance(source, Mapping):
        return _from_mapping(source, **options)
    if str(source) == "fashion-mnist":
        return _fashion_mnist()
    path = Path(source)
    if path.suffix.lower() == ".npz":
        return _from_npz(path)
    raise unknown("data set", str(source), ["fashion-mnist", "<path>.npz"])


@cache
def _fashion_mnist() -> Data:
    path = Path(__file__).with_name("fashion-mnist.npz")
    arrays = cache(lambda: read_npz(path))
    rows = {
        "train": ("train", slice(0, VALIDATION_START)),
        "calibration": ("train", slice(0, CALIBRATION_END)),
        "validation": ("train", slice(VALIDATION_START, None)),
        "test": ("test", slice(None)),
    }

    def loader(part: str, rows: slice) -> Callable[[], Pair]:
        return lambda: _tensors(
            arrays()[f"{part}_images"][rows], arrays()[f"{part}_labels"][rows], (FASHION_MEAN,), (FASHION_STD,)
        )

    return Data(
        name="fashion-mnist",
        splits={name: Split(name, loader(*where)) for name, where in rows.items()},
        classes=FASHION_CLASSES,
        mean=(FASHION_MEAN,),
        std=(FASHION_STD,),
        licence="MIT",
    )


def _from_npz(path: Path) -> Data:
    arrays = read_npz(path)
    names = [s for s in SPLITS if f"{s}_images" in arrays]
    if "test" not in names:
        raise BadFile(
            f"{path} holds {', '.join(sorted(arrays)) or 'nothing'}; it needs at least test_images, and test_labels "
            "where there are labels."
        )
    mean, std = (_a_channel(path, name, arrays.get(name, missing)) for name, missing in _UNSCALED.items())
    if any(v <= 0 for v in std):
        raise BadFile(f"{path}: std is {std}; every value must be positive.")
    for name in names:
        _check_split(path, name, arrays[f"{name}_images"], arrays.get(f"{name}_labels"))
    pairs = {s: _tensors(arrays[f"{s}_images"], arrays.get(f"{s}_labels"), mean, std) for s in names}
    classes = arrays.get("classes", np.array((), str))
    if classes.ndim != 1 or len(classes) > MOST_CLASSES:
        raise BadFile(f"{path}: classes has the shape {classes.shape}; give one name a class, at most {MOST_CLASSES}.")
    return Data(path.stem, _splits(_complete(pairs)), tuple(map(str, classes)), mean, std)


def _a_channel(path: Path, name: str, values: np.ndarray[Any, Any]) -> tuple[float, ...]:
    """The mean or standard deviation of each channel."""
    if values.ndim > 1 or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise BadFile(f"{path}: {name} is {values.dtype} of shape {values.shape}; give one number a channel.")
    return tuple(float(v) for v in np.atleast_1d(values))


def _check_split(path: Path, name: str, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any] | None) -> None:
    """Raise `BadFile` for images that are none, and for labels that are no numbers or not as many."""
    if images.ndim < 3 or images.dtype.kind not in "uf" or not images.size:
        raise BadFile(f"{path}: {name}_images are {images.dtype} of shape {images.shape}, which are no images.")
    if labels is None:
        return
    if labels.dtype.kind not in "biuf" or labels.ndim < 1 or len(labels) != len(images):
        raise BadFile(
            f"{path}: {name}_labels are {labels.dtype} of shape {labels.shape}; give one number for each of the "
            f"{len(images):,} images: the place of its class in classes, from 0 on."
        )


def _from_mapping(
    source: Mapping[str, Any],
    name: str = "data",
    classes: tuple[str, ...] = (),
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
) -> Data:
    for split in source:
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
    if "test" not in source:
        raise BadValue(f"The mapping has the splits {sorted(source)}; it needs at least 'test', which reports.")
    pairs = {split: _materialise(split, value) for split, value in source.items()}
    return Data(name, _splits(_complete(pairs)), tuple(classes), tuple(mean), tuple(std))


def _splits(pairs: Mapping[str, Pair]) -> dict[str, Split]:
    return {name: Split(name, lambda pair=pair: pair) for name, pair in pairs.items()}  # type: ignore[misc]


def _complete(pairs: dict[str, Pair]) -> dict[str, Pair]:
    """Derive validation and calibration from train where they are missing; never from test."""
    if "train" in pairs and "validation" not in pairs and len(pairs["train"][0]) >= 10:
        cut = len(pairs["train"][0]) - len(pairs["train"][0]) // 5
        train, validation = _part(pairs["train"], slice(cut)), _part(pairs["train"], slice(cut, None))
        pairs = {**pairs, "train": train, "validation": validation}
    if "train" in pairs and "calibration" not in pairs:
        pairs = {**pairs, "calibration": _part(pairs["train"], slice(CALIBRATION_END))}
    return pairs


def _part(pair: Pair, rows: slice) -> Pair:
    inputs, labels = pair
    return inputs[rows], None if labels is None else labels[rows]


def _materialise(split: str, value: Any) -> Pair:
    """A split's tensors from tensors or arrays, a DataLoader, or a Dataset."""
    import torch

    labels: torch.Tensor | None
    if isinstance(value, (torch.Tensor, np.ndarray)):
        inputs, labels = torch.as_tensor(value), None
    elif isinstance(value, tuple) and len(value) == 2:
        inputs, labels = torch.as_tensor(value[0]), None if value[1] is None else torch.as_tensor(value[1])
    else:
        inputs, labels = _collect(split, value)
    if inputs.dim() < 2 or (labels is not None and labels.dim() < 1):
        raise BadValue(
            f"Split {split!r} has inputs of shape {tuple(inputs.shape)} and labels of shape "
            f"{'none' if labels is None else tuple(labels.shape)}; expected (N, ...) and (N, ...)."
        )
    return inputs.float(), None if labels is None else _as_labels(labels)


def _collect(split: str, value: Any) -> Pair:
    """Every batch of a DataLoader or Dataset, of pairs or of inputs alone."""
    import torch
    from torch.utils.data import DataLoader

    loader = value if isinstance(value, DataLoader) else DataLoader(value, batch_size=100)
    try:
        batches = list(loader)
        if batches and all(isinstance(batch, torch.Tensor) or len(batch) == 1 for batch in batches):
            return torch.cat([batch if isinstance(batch, torch.Tensor) else batch[0] for batch in batches]), None
        pairs = [(x, y) for x, y in batches]
    except (TypeError, ValueError) as error:
        raise BadValue(f"Split {split!r} does not yield (input, label) pairs: {error}.") from error
    if not pairs:
        raise BadValue(f"Split {split!r} is empty.")
    inputs, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    return inputs, labels


def _as_labels(labels: torch.Tensor) -> torch.Tensor:
    """Class numbers as int64, also where they came as floats; other values as they are."""
    whole = labels.dim() == 1 and bool((labels == labels.round()).all()) if labels.is_floating_point() else True
    return labels.long() if whole else labels


def _tensors(images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any] | None, mean: Any, std: Any) -> Pair:
    """uint8 (N, H, W[, C]) or float (N, C, H, W) -> normalised float32 (N, C, H, W), labels (N, ...)."""
    import torch

    known = None if labels is None else _as_labels(torch.from_numpy(np.asarray(labels)))
    if images.dtype != np.uint8:
        if images.ndim != 4 or images.dtype.kind != "f":
            raise BadFile(
                f"Images are {images.dtype} of shape {images.shape}; "
                "expected uint8 (N, H, W[, C]) or float (N, C, H, W)."
            )
        return torch.from_numpy(images.astype(np.float32)), known
    if images.ndim not in {3, 4}:
        raise BadFile(f"uint8 images have shape {images.shape}; expected (N, H, W) or (N, H, W, C).")
    pixels = torch.from_numpy(np.ascontiguousarray(images))
    pixels = pixels.unsqueeze(1) if images.ndim == 3 else pixels.permute(0, 3, 1, 2)
    if len(mean) not in {1, pixels.shape[1]} or len(std) not in {1, pixels.shape[1]}:
        raise BadFile(f"mean {mean} and std {std} do not fit images of {pixels.shape[1]} channels.")
    shape = (1, -1, 1, 1)
    normalised = (pixels.float() / 255 - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    return normalised.contiguous(), known
