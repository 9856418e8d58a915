"""What outputs and labels are taken for, and what is said where they are not plain."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.errors import BadValue, UnknownName
from workbench.tasks import Seen, recognise

WHOLE, FLOAT = np.int64, np.float32


def labels(shape: tuple[int, ...], kind: type, most: int = 4) -> np.ndarray:
    random = np.random.default_rng(0)
    found = random.integers(most, size=(40, *shape)) if kind is WHOLE else random.normal(size=(40, *shape))
    return found.astype(kind)


@pytest.mark.parametrize(
    ("outputs", "given", "task", "metric"),
    [
        (((4,),), labels((), WHOLE), "classification", "accuracy"),
        (((4,), (2, 8, 8)), labels((), WHOLE), "classification", "accuracy"),  # features beside the scores
        (((3,),), labels((3,), WHOLE, 2), "multi-label", "average_precision"),
        (((1,),), labels((), WHOLE, 2), "multi-label", "average_precision"),  # yes or no
        (((4, 8, 8),), labels((8, 8), WHOLE), "segmentation", "miou"),
        (((1, 8, 8),), labels((8, 8), WHOLE, 2), "segmentation", "miou"),
        (((1, 8, 8),), labels((1, 8, 8), WHOLE, 2), "segmentation", "miou"),
        (((9, 4), (9,)), [{"boxes": [], "labels": []}], "detection", "coco_map"),
        (((9, 6),), labels((3, 5), FLOAT), "detection", "coco_map"),
        (((1,),), labels((), FLOAT), "regression", "mae"),
        (((),), labels((), FLOAT), "regression", "mae"),
        (((1,),), labels((), WHOLE, 90), "regression", "mae"),  # such as ages
        (((5,),), labels((5,), FLOAT), "regression", "mae"),
        (((12, 3),), labels((12, 3), FLOAT), "regression", "mae"),
        (((3, 8, 8),), labels((3, 8, 8), FLOAT), "images", "psnr"),
        (((1, 8, 8),), labels((8, 8), FLOAT), "images", "psnr"),
        (((12, 30),), labels((12,), WHOLE), "sequences", "token_accuracy"),
        (((30, 12),), labels((12,), WHOLE), "sequences", "token_accuracy"),  # the classes before the places
        (((25, 30),), labels((12,), WHOLE), "ctc", "character_error_rate"),
        (((4,),), None, "none", "agreement"),
        (((4, 8, 8),), None, "none", "agreement"),
        (((1,),), None, "none", "logit_error"),
    ],
)
def test_what_is_plain_is_recognised(
    outputs: tuple[tuple[int, ...], ...], given: object, task: str, metric: str
) -> None:
    found = recognise(Seen(outputs, given), None)
    assert (found.name, found.principal.name) == (task, metric)
    assert recognise(Seen(outputs, given), task).name == task  # and may be named


def test_rare_classes_are_looked_at_too() -> None:
    even, rare = np.repeat(np.arange(4), 10), np.array([0] * 36 + [1, 2, 3, 3])
    assert [one.name for one in recognise(Seen(((4,),), even), None).metrics] == ["accuracy"]
    assert [one.name for one in recognise(Seen(((4,),), rare), None).metrics] == ["accuracy", "balanced_accuracy"]


def test_vectors_are_named() -> None:
    seen = Seen(((64,),), labels((), WHOLE))
    assert recognise(seen, None).name == "classification"
    assert recognise(seen, "embeddings").principal.name == "recall_at_1"


def test_a_metric_takes_the_form_of_its_task() -> None:
    mask = Seen(((1, 8, 8),), labels((8, 8), WHOLE, 2))
    found = recognise(mask, None, "miou")
    assert found.metrics == (recognise(mask, None).principal,) and found.loss is not None
    own = recognise(Seen(((7,),), labels((2, 3), FLOAT)), None, lambda_named("own"))
    assert own.name == "own" and own.principal.name == "own" and own.loss is None


def lambda_named(name: str):  # type: ignore[no-untyped-def]
    def function(outputs: np.ndarray, labels: np.ndarray) -> float:
        return 0.0

    function.__name__ = name
    return function


@pytest.mark.parametrize(
    ("outputs", "given", "task", "said"),
    [
        (
            ((4,),),
            labels((), FLOAT),
            None,
            r"gives \(4,\) for an input, and the labels are float32 of shape \(\)",
        ),
        (((7,),), labels((2, 3), WHOLE), None, "not plain"),
        (((4,),), labels((), WHOLE), "segmentation", r"no segmentation, which needs outputs \(classes, H, W\)"),
        (((4,),), labels((), FLOAT), "classification", "no classification, which needs outputs"),
        (((4,),), None, "regression", "the data have no labels: that is no regression"),
        (((4,),), labels((), WHOLE), "none", "needs data without labels"),
        (((4,),), ["a", "b"], None, "a label is a str"),
    ],
)
def test_what_does_not_fit_gets_a_sentence(
    outputs: tuple[tuple[int, ...], ...], given: object, task: str | None, said: str
) -> None:
    with pytest.raises(BadValue, match=said):
        recognise(Seen(outputs, given), task)


def test_names_that_are_none() -> None:
    seen = Seen(((4,),), labels((), WHOLE))
    with pytest.raises(UnknownName, match="no task named 'clasification'.*Did you mean 'classification'"):
        recognise(seen, "clasification")
    with pytest.raises(UnknownName, match="no task named '3'"):
        recognise(seen, 3)  # type: ignore[arg-type]
    with pytest.raises(BadValue, match="metric 'accuracy' compares outputs with labels"):
        recognise(Seen(((4,),), None), None, "accuracy")
