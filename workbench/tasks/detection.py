"""Boxes around things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from workbench.errors import BadValue
from workbench.tasks.library import with_torchvision
from workbench.tasks.losses import near
from workbench.tasks.metric import Metric
from workbench.tasks.task import Seen, Task

Array = npt.NDArray[Any]
#: What is said of an image: boxes (K, 4) as left, top, right, bottom, and for each a class and, if found, a score.
Found = dict[str, torch.Tensor]

#: Boxes are matched anew for every draw of the images, which takes long: so many are drawn for an interval.
DRAWS = 40
#: How its extra is installed.
EXTRA = "pip install 'nn-workbench[detection]'"


def found(outputs: Any) -> list[Found]:
    """What a detector says of each image, from the forms in which detectors say it.

    A list of one mapping an image with `boxes`, `scores` and `labels`; one array (N, K, 6) of left, top, right,
    bottom, score and class; or several arrays: boxes (N, K, 4), scores (N, K) and classes (N, K), or scores of every
    class (N, K, classes). A score of zero or less, or a negative class, fills up an image with fewer boxes.

    Raises: `BadValue` for anything else.
    """
    if isinstance(outputs, (list, tuple)) and all(isinstance(one, Mapping) for one in outputs):
        return [_of({name: torch.as_tensor(np.asarray(value)) for name, value in one.items()}) for one in outputs]
    arrays = [outputs] if isinstance(outputs, np.ndarray) else [np.asarray(one) for one in outputs]
    if len(arrays) == 1 and arrays[0].ndim == 3 and arrays[0].shape[2] == 6:
        boxes, scores, labels = arrays[0][..., :4], arrays[0][..., 4], arrays[0][..., 5]
    else:
        boxes, scores, labels = _sorted(arrays)
    return [_filled(*one) for one in zip(boxes, scores, labels, strict=True)]


def wanted(labels: Any) -> list[Found]:
    """The boxes and classes of each image, from a list of mappings or an array (N, M, 5) filled up by class -1."""
    if isinstance(labels, np.ndarray):
        rows = [row[row[:, 4] >= 0] for row in labels]
        labels = [{"boxes": row[:, :4], "labels": row[:, 4]} for row in rows]
    return [_of({name: torch.as_tensor(np.asarray(one[name])) for name in ("boxes", "labels")}) for one in labels]


def _of(one: Found) -> Found:
    """With the types and shapes that are compared. Raises: `BadValue`."""
    missing = {"boxes", "labels"} - one.keys()
    if missing:
        raise BadValue(f"A detection has {', '.join(sorted(one))}, and lacks {', '.join(sorted(missing))}.")
    given = {"boxes": one["boxes"].float().reshape(-1, 4), "labels": one["labels"].long().reshape(-1)}
    if "scores" in one:
        given["scores"] = one["scores"].float().reshape(-1)
    if len({len(value) for value in given.values()}) > 1:
        raise BadValue(f"An image has {len(given['boxes'])} boxes and {len(given['labels'])} classes.")
    return given


def _filled(boxes: Array, scores: Array, labels: Array) -> Found:
    kept = (scores > 0) & (labels >= 0)
    return _of({
        "boxes": torch.from_numpy(boxes[kept].astype(np.float32)),
        "scores": torch.from_numpy(scores[kept].astype(np.float32)),
        "labels": torch.from_numpy(labels[kept].astype(np.int64)),
    })  # fmt: skip


def _sorted(arrays: Sequence[Array]) -> tuple[Array, Array, Array]:
    """Boxes, scores and classes among the outputs of a detector, known by their shapes and kinds."""
    boxes = next((one for one in arrays if one.ndim == 3 and one.shape[2] == 4), None)
    rest = [] if boxes is None else [one for one in arrays if one is not boxes and one.shape[:2] == boxes.shape[:2]]
    by_class = next((one for one in rest if one.ndim == 3), None)
    if boxes is not None and by_class is not None:
        return boxes, by_class.max(axis=2), by_class.argmax(axis=2)
    flat = [one for one in rest if one.ndim == 2]
    whole = [one for one in flat if one.dtype.kind in "iu"] or [one for one in flat if (one == np.round(one)).all()]
    scores = next((one for one in flat if not any(one is other for other in whole[:1])), None)
    if boxes is None or scores is None:
        shapes = ", ".join(str(one.shape) for one in arrays)
        raise BadValue(
            f"Outputs of the shapes {shapes} are no detections: these are boxes (N, K, 4), scores (N, K) and classes "
            "(N, K) or scores (N, K, classes), or one array (N, K, 6)."
        )
    return boxes, scores, whole[0] if whole else np.zeros_like(scores)


def mean_average_precision(outputs: Any, labels: Any) -> float:
    """COCO's mean average precision over ten overlaps from 0.5 to 0.95. Raises: `BadValue` without its extra."""
    return max(0.0, float(_coco()(found(outputs), wanted(labels))["map"]))


def at_half(outputs: Any, labels: Any) -> float:
    """The same at an overlap of 0.5."""
    return max(0.0, float(_coco()(found(outputs), wanted(labels))["map_50"]))


def _coco() -> Any:
    try:
        import faster_coco_eval as _  # noqa: F401  # what counts

        return with_torchvision("detection").MeanAveragePrecision(backend="faster_coco_eval")
    except ImportError as error:
        raise BadValue(f"Detections are judged by packages that are not installed: {EXTRA}. ({error})") from error
    except RuntimeError as error:
        raise BadValue(f"Detections are judged with torchvision, which does not fit torch here: {error}") from error


def _fits(seen: Seen) -> bool:
    boxes = seen.label is None and seen.labels is not None and len(seen.labels) and isinstance(seen.labels[0], Mapping)
    padded = seen.label is not None and len(seen.label) == 2 and seen.label[1] == 5
    given = any(len(one) == 2 and one[1] in (4, 6) for one in seen.outputs)
    return bool(boxes or padded) and given


MAP = Metric("coco_map", mean_average_precision, label="mAP", share=True, whole=True, several=True, draws=DRAWS)
MAP_50 = Metric("coco_map50", at_half, label="mAP at half overlap", share=True, whole=True, several=True, draws=DRAWS)

DETECTION = Task(
    name="detection",
    title="detection",
    metrics=(MAP,),
    needs="boxes with scores and classes as outputs, and as labels a list of {'boxes', 'labels'}, one an image",
    fits=_fits,
    likely=lambda seen: _fits(seen) and (seen.label is None or len(seen.outputs) > 1 or seen.output[-1] == 6),
    loss=None,  # what boxes are compared with is each detector's own
    taught=near,
    several=True,
)
