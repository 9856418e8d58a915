"""Figures of every task by hand, against torchmetrics' own classes and against scipy."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from workbench.errors import BadValue
from workbench.measure.metrics import sample
from workbench.tasks import METRICS, Metric
from workbench.tasks.classification import IMBALANCED, is_imbalanced
from workbench.tasks.detection import found, wanted
from workbench.tasks.embeddings import contrastive
from workbench.tasks.library import torchmetrics as part_of
from workbench.tasks.losses import as_logits, independent, near, softened
from workbench.tasks.metric import Tally, as_metric
from workbench.tasks.segmentation import BINARY
from workbench.tasks.sequences import CTC, edits, read

part_of("functional")  # imports it beside a torchvision for another torch too
torchmetrics = importlib.import_module("torchmetrics")

RANDOM = np.random.default_rng(0)
LOGITS, LABELS = RANDOM.normal(size=(120, 5)).astype(np.float32), RANDOM.integers(5, size=120)


def value(metric: Metric, outputs: object, labels: object) -> float:
    return sample(metric, outputs, labels).value


def theirs(metric: torchmetrics.Metric, outputs: np.ndarray, labels: np.ndarray) -> float:
    metric.update(torch.from_numpy(outputs), torch.from_numpy(labels))
    return float(metric.compute())


def test_balanced_accuracy_is_the_mean_recall() -> None:
    rare = np.where(LABELS == 0, 1, LABELS)
    recalls = [(LOGITS.argmax(1) == rare)[rare == one].mean() for one in np.unique(rare)]
    assert value(METRICS["balanced_accuracy"], LOGITS, rare) == pytest.approx(np.mean(recalls))
    assert is_imbalanced(np.array([0] * 9 + [1] * 3)) and not is_imbalanced(np.array([0] * 8 + [1] * 3))
    assert [one.name for one in IMBALANCED.metrics] == ["accuracy", "balanced_accuracy"]


def test_labels_that_do_not_exclude_each_other() -> None:
    wanted = (RANDOM.random((120, 5)) < 0.3).astype(np.int64)
    kinds = torchmetrics.classification
    assert value(METRICS["average_precision"], LOGITS, wanted) == pytest.approx(
        theirs(kinds.MultilabelAveragePrecision(5), LOGITS, wanted), rel=1e-6
    )
    assert value(METRICS["f1"], LOGITS, wanted) == pytest.approx(
        theirs(kinds.MultilabelF1Score(5, average="micro"), LOGITS, wanted), rel=1e-6
    )
    sure = 1 / (1 + np.exp(-LOGITS))  # probabilities say the same as logits
    assert value(METRICS["f1"], sure, wanted) == pytest.approx(value(METRICS["f1"], LOGITS, wanted))


def test_one_logit_a_pixel() -> None:
    logits = np.array([[[[2.0, -1.0], [3.0, -4.0]]]], np.float32)
    labels = np.array([[[1, 1], [0, 255]]])  # of three pixels two are said to be in, one of them rightly
    assert value(BINARY.metrics[0], logits, labels) == pytest.approx((1 / 3 + 0 / 2) / 2)
    assert value(BINARY.metrics[1], logits, labels) == pytest.approx(1 / 3)
    assert BINARY.loss is not None
    loss = BINARY.loss(torch.from_numpy(logits), torch.from_numpy(labels))
    expected = np.mean([np.log1p(np.exp(-2.0)), np.log1p(np.exp(1.0)), np.log1p(np.exp(3.0))])
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(120,), (120, 1), (120, 3)])
def test_values(shape: tuple[int, ...]) -> None:
    labels = RANDOM.normal(size=shape).astype(np.float32)
    outputs = labels + 0.3 * RANDOM.normal(size=shape).astype(np.float32)
    assert value(METRICS["mae"], outputs, labels) == pytest.approx(np.abs(outputs - labels).mean(), rel=1e-5)
    flat = (outputs.reshape(120, -1), labels.reshape(120, -1))
    assert value(METRICS["r2"], outputs, labels) == pytest.approx(theirs(torchmetrics.R2Score(), *flat), rel=1e-4)
    assert value(METRICS["mae"], outputs.reshape(120, -1), labels) == pytest.approx(np.abs(outputs - labels).mean())
    with pytest.raises(BadValue, match="gives .* for an input, and its label is"):
        value(METRICS["mae"], np.zeros((120, 2)), np.zeros((120, 5)))


def test_images() -> None:
    labels = RANDOM.random((6, 3, 16, 16)).astype(np.float32)
    outputs = np.clip(labels + 0.1 * RANDOM.normal(size=labels.shape), 0, 1).astype(np.float32)
    squared = ((outputs - labels) ** 2).reshape(6, -1).mean(1)
    assert value(METRICS["psnr"], outputs, labels) == pytest.approx((10 * np.log10(1 / squared)).mean(), rel=1e-5)
    assert value(METRICS["psnr"], 255 * outputs, 255 * labels) == pytest.approx(
        (-10 * np.log10(squared)).mean(), rel=1e-5
    )
    assert value(METRICS["ssim"], labels, labels) == pytest.approx(1, abs=1e-5)
    assert 0 < value(METRICS["ssim"], outputs, labels) < 1
    assert value(METRICS["psnr"], labels, labels) == 100


def test_tokens_and_edits_by_hand() -> None:
    said = np.array([[1, 2, 3, 3], [2, 2, 0, 1]])
    labels = np.array([[1, 2, 3, 1], [1, 2, -1, -1]])
    outputs = np.eye(4)[said]
    assert value(METRICS["token_accuracy"], outputs, labels) == pytest.approx((3 + 1) / (4 + 2))
    assert edits(outputs, labels).tolist() == [[1, 4], [1, 2]]  # one token is changed in each
    assert value(METRICS["character_error_rate"], outputs, labels) == pytest.approx(2 / 6)


def test_a_text_is_read_from_a_longer_row() -> None:
    rows = np.eye(4)[[[0, 1, 1, 0, 1, 3], [2, 2, 2, 0, 0, 0]]]
    assert [one.tolist() for one in read(rows)] == [[1, 1, 3], [2]]
    labels = np.array([[1, 1, 3], [3, 2, -1]])
    assert value(CTC.principal, rows, labels) == pytest.approx(1 / 5)  # one token is missing
    scores = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.ctc_loss(
        scores.log_softmax(2).transpose(0, 1), torch.tensor([[1, 1, 3], [3, 2, 0]]), torch.tensor([6, 6]),
        torch.tensor([3, 2]),
    )  # fmt: skip
    assert CTC.loss is not None
    assert float(CTC.loss(scores, torch.from_numpy(labels))) == pytest.approx(float(expected), rel=1e-5)


def test_like_things_are_found() -> None:
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.8, 0.3], [-1, 0]], np.float32)
    things = np.array([0, 0, 1, 1, 2])  # the last has no like and asks for nothing
    cosines = vectors @ vectors.T / np.outer(*[np.linalg.norm(vectors, axis=1)] * 2)
    np.fill_diagonal(cosines, -2)
    hits = things[cosines.argmax(1)] == things
    assert value(METRICS["recall_at_1"], vectors, things) == pytest.approx(hits[:4].mean())
    precisions = []
    for one in range(4):  # one like each: the precision is one over its rank
        order = [i for i in np.argsort(-cosines[one]) if i != one]
        precisions.append(1 / (1 + [things[i] for i in order].index(things[one])))
    assert value(METRICS["retrieval_map"], vectors, things) == pytest.approx(np.mean(precisions))
    near, far = (
        torch.tensor(v, dtype=torch.float32) for v in ([[1.0, 0], [1, 0.1], [0, 1]], [[1.0, 0], [0, 1], [1, 0]])
    )
    labels = torch.tensor([0, 0, 1])
    assert float(contrastive(near, labels)) < float(contrastive(far, labels))
    assert float(contrastive(near, torch.tensor([0, 1, 2]))) == 0  # nothing alike


BOXES = np.array([[[0, 0, 2, 2], [4, 4, 6, 6], [0, 0, 1, 1]]], np.float32)


@pytest.mark.usefixtures("torchvision")
def test_boxes_in_every_form_are_the_same() -> None:
    scores, classes = np.array([[0.9, 0.8, 0.0]], np.float32), np.array([[1, 0, -1]])
    one_array = np.concatenate([BOXES, scores[..., None], classes[..., None]], 2)
    by_class = np.zeros((1, 3, 2), np.float32)
    by_class[0, 0, 1], by_class[0, 1, 0] = 0.9, 0.8
    mappings = [{"boxes": BOXES[0, :2], "scores": scores[0, :2], "labels": classes[0, :2]}]
    forms = [one_array, (BOXES, scores, classes), (scores, classes, BOXES), (BOXES, by_class), mappings]
    for form in forms:
        (one,) = found(form)
        assert one["boxes"].tolist() == BOXES[0, :2].tolist() and one["labels"].tolist() == [1, 0]
        assert one["scores"].tolist() == pytest.approx([0.9, 0.8])
    truth = [{"boxes": torch.from_numpy(BOXES[0, :2]), "labels": torch.tensor([1, 1])}]
    padded = np.array([[[0, 0, 2, 2, 1], [4, 4, 6, 6, 1], [0, 0, 0, 0, -1]]], np.float32)
    assert wanted(padded)[0]["labels"].tolist() == wanted(truth)[0]["labels"].tolist() == [1, 1]
    # Of class 1 one of two boxes is found, before anything false: a precision of 1 at 51 of 101 recalls.
    for form in forms:
        assert value(METRICS["coco_map"], form, truth) == pytest.approx(51 / 101, abs=1e-3)
    with pytest.raises(BadValue, match="are no detections"):
        found((np.zeros((1, 3)), np.zeros((1, 3))))
    with pytest.raises(BadValue, match="lacks labels"):
        found([{"boxes": BOXES[0]}])


def test_metrics_of_torchmetrics_have_exact_sums() -> None:
    """What is added up input by input is what torchmetrics finds in one go; the interval is the bootstrap's."""
    labels = LOGITS[:, 0] + 0.5 * RANDOM.normal(size=120).astype(np.float32)
    for given in (
        torchmetrics.MeanAbsoluteError(),
        torchmetrics.MeanSquaredError(squared=False),
        torchmetrics.R2Score(),
    ):
        metric = as_metric(given, METRICS)
        assert metric.combine is not None and metric.name.islower()
        assert value(metric, LOGITS[:, 0], labels) == pytest.approx(
            theirs(given.clone(), LOGITS[:, 0], labels), rel=1e-5
        )
    assert not as_metric(torchmetrics.MeanAbsoluteError, METRICS).more_is_better
    errors = np.abs(LOGITS[:, 0] - labels)
    estimate = sample(as_metric(torchmetrics.MeanAbsoluteError, METRICS), LOGITS[:, 0], labels).estimate
    oracle = stats.bootstrap((errors,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    assert estimate.low == pytest.approx(oracle.low, abs=0.1 * float(oracle.high - oracle.low))
    kinds = torchmetrics.classification
    f1 = kinds.MulticlassF1Score(5)
    assert value(as_metric(f1, METRICS), LOGITS, LABELS) == pytest.approx(theirs(f1.clone(), LOGITS, LABELS), rel=1e-5)


def test_other_metrics_of_torchmetrics_are_computed_anew() -> None:
    labels = LOGITS[:, 0] + 0.5 * RANDOM.normal(size=120).astype(np.float32)
    metric = as_metric(torchmetrics.PearsonCorrCoef(), METRICS)
    assert metric.whole and metric.name == "pearson_corr_coef"
    found = sample(metric, LOGITS[:, 0], labels).estimate
    oracle = stats.pearsonr(LOGITS[:, 0], labels)
    assert found.value == pytest.approx(oracle.statistic, rel=1e-4)
    assert found.low < found.value < found.high
    function = as_metric(torchmetrics.functional.mean_squared_error, METRICS)
    assert value(function, LOGITS[:, 0], labels) == pytest.approx(((LOGITS[:, 0] - labels) ** 2).mean(), rel=1e-5)
    with pytest.raises(BadValue, match=r"cannot be made.*metric=MulticlassAccuracy\(...\)"):
        as_metric(torchmetrics.classification.MulticlassAccuracy, METRICS)


def test_a_torchvision_for_another_torch_is_left_out(tmp_path: Path) -> None:
    """It raises where torchmetrics imports it, and most figures do without it; boxes get a sentence."""
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    code = (
        "import numpy as np\n"
        "from workbench.errors import BadValue\n"
        "from workbench.tasks import METRICS\n"
        "print(METRICS['mae'].function(np.ones((2, 1), 'float32'), np.zeros((2, 1), 'float32')).tolist())\n"
        "try:\n"
        "    METRICS['coco_map'].function(np.zeros((1, 2, 6), 'float32'), np.zeros((1, 1, 5), 'float32'))\n"
        "except BadValue as error:\n"
        "    print(error)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.strip().splitlines()
    assert first == "[1.0, 1.0]" and "does not fit torch here" in second


def test_batches_make_no_difference() -> None:
    pairs = {"accuracy": (LOGITS, LABELS), "recall_at_1": (LOGITS, LABELS), "mae": (LOGITS, LOGITS + 1)}
    for name, (outputs, labels) in pairs.items():
        tally = Tally(METRICS[name])
        for part in range(0, 120, 50):
            tally.add(outputs[part : part + 50], labels[part : part + 50])
        assert tally.value() == pytest.approx(value(METRICS[name], outputs, labels))


def test_what_the_original_teaches_in_closed_form() -> None:
    a, b = torch.tensor([[0.0, 1.0], [2.0, 0.0]]), torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    p, q = (b / 2).softmax(1), (a / 2).softmax(1)
    assert float(softened(1)(a, b, 2.0)) == pytest.approx(float((p * (p / q).log()).sum(1).mean() * 4), rel=1e-5)
    pixels = softened(1)(a[..., None, None].expand(2, 2, 5, 5), b[..., None, None].expand(2, 2, 5, 5), 2.0)
    assert float(pixels) == pytest.approx(float(softened(1)(a, b, 2.0)), rel=1e-5)  # the mean over places
    assert float(near(2 * b, b, 1.0)) == pytest.approx(1)
    p, q = (b - 2).sigmoid(), (a - 2).sigmoid()
    each = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    assert float(independent(a - 2, b - 2, 1.0)) == pytest.approx(float(each.mean()), rel=1e-4)
    assert torch.allclose(as_logits(torch.tensor([0.25, 0.5])), torch.tensor([0.25, 0.5]).logit())
