"""Labels as they come: numbers, texts, one-hot rows, marks for "no label"; and what is refused with the label shown."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import workbench as wb
from workbench.errors import BadValue

X = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(0))
NUMBERS = [0, 1, 2, 3, 0, 1, 2, 3]


class Pairs(Dataset):
    def __init__(self, labels: list) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple:
        return X[index], self.labels[index]


@pytest.mark.parametrize(
    "labels",
    [
        NUMBERS,
        torch.tensor(NUMBERS, dtype=torch.uint8),
        np.array(NUMBERS, dtype=">i2"),
        np.array(NUMBERS, dtype=np.float64),
        torch.tensor(NUMBERS)[:, None],
        torch.eye(4)[NUMBERS],
        np.eye(4, dtype=bool)[NUMBERS],
        torch.eye(4, dtype=torch.int32)[NUMBERS].requires_grad_(False),
        [torch.tensor(one) for one in NUMBERS],
    ],
    ids=["list", "uint8", "big-endian", "float64", "(N, 1)", "one-hot", "bool one-hot", "int one-hot", "tensors"],
)
def test_class_numbers_in_every_form(labels: object) -> None:
    found = wb.data({"test": (X, labels)})["test"].labels
    assert found.dtype == torch.int64 and found.tolist() == NUMBERS


def test_booleans_are_two_classes() -> None:
    assert wb.data({"test": (X, [True, False] * 4)})["test"].labels.tolist() == [1, 0] * 4


def test_texts_become_classes_that_all_splits_share() -> None:
    data = wb.data({"train": (X, ["cat", "dog"] * 4), "test": Pairs(["eel", "cat"] * 4)})
    assert data.classes == ("cat", "dog", "eel")
    assert data["test"].labels.tolist() == [2, 0] * 4
    batched = wb.data({"test": DataLoader(Pairs(["eel", "cat"] * 4), batch_size=3)}, classes=["eel", "dog", "cat"])
    assert batched["test"].labels.tolist() == [0, 2] * 4


def test_values_to_predict_keep_their_shape() -> None:
    for values in (torch.rand(8), torch.rand(8, 1), torch.rand(8, 2), torch.tensor([-3, 5, 7, 9] * 2)):
        found = wb.data({"test": (X, values)})["test"].labels
        assert found.dtype == torch.float32 and torch.equal(found, values.float())
    pixels = torch.randint(0, 4, (8, 6, 6))
    pixels[:, 0] = 255
    assert torch.equal(wb.data({"test": (X, pixels)})["test"].labels, pixels)


def test_inputs_without_a_label_are_left_out_and_it_is_said() -> None:
    marks = [-1, 1, 2, -100, 0, 1, 2, 3]
    with pytest.warns(UserWarning, match="2 of the 8 inputs of split 'test' have the label -1") as said:
        data = wb.data({"test": (X, marks), "calibration": (X, marks)})
    assert said[0].filename == __file__
    assert data["test"].labels.tolist() == [1, 2, 0, 1, 2, 3]
    assert torch.equal(data["test"].inputs, X[[1, 2, 4, 5, 6, 7]])
    assert len(data["calibration"]) == 8 and not data["calibration"].labelled  # ranges need no labels
    with pytest.warns(UserWarning, match="no labels"):
        assert not wb.data({"test": (X, [-1] * 8)})["test"].labelled


def test_accuracy_counts_labelled_inputs_alone() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)).eval()
    x = torch.randn(40, 3, 6, 6)
    with torch.no_grad():
        answers = module(x).argmax(1)
    labels = answers.clone()
    labels[:10] = -1  # no label
    labels[10:16] = (answers[10:16] + 1) % 4  # wrong
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        data = wb.data({"train": (x, labels), "test": (x, labels)})
    study = wb.Study(wb.load(module, example=x[:1]), data)
    accuracy = study.baseline["accuracy"]
    assert accuracy.n == 30 and accuracy.value == pytest.approx(24 / 30)
    trained = study.run(wb.Finetune(1, lr=1e-6, augment="none"), progress=False)
    assert trained["accuracy"].n == 30 and trained["accuracy"].value == pytest.approx(24 / 30)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0, 1, None, 1] * 2, "label None at index 2"),
        (["a", "b", "c", ""] * 2, "label 'c' at index 2"),
        ([0.5, float("nan")] * 4, "label nan at index 1"),
        ([-1, 1] * 4, "0 and 1"),
        ([0, 5] * 4, "label 5, and classes= names 3"),
        ([{"boxes": 1}] * 8, "boxes"),
        ([[0], [1, 2]] * 4, "do not fit together"),
        (torch.zeros(8, dtype=torch.complex64), "'test' has the label"),
        (3, "single label 3|labels of split 'test' are 3"),
        ([0] * 7, "8 inputs and 7 labels"),
        (np.array([2**63 + 1] * 8, dtype=np.uint64), "9223372036854775809"),
    ],
)
def test_labels_that_mean_nothing_are_shown(labels: object, says: str) -> None:
    with pytest.raises(BadValue, match=says):
        wb.data({"test": (X, labels)}, classes=("a", "b", ""))


def test_texts_beside_numbers_are_refused() -> None:
    with pytest.raises(BadValue, match="texts in split 'train', and numbers in 'test'"):
        wb.data({"train": (X, ["a"] * 8), "test": (X, NUMBERS)})


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (torch.arange(8) % 4 + 1, r"split 'train'.* go from 1 to 4.*labels - 1"),
        (torch.arange(8) + 1, "go from 1 to 8, and the network tells 4 classes apart"),
        (torch.tensor([10**12] * 8), "1000000000000"),
    ],
)
def test_class_numbers_beyond_the_outputs(labels: torch.Tensor, says: str) -> None:
    model = wb.load(nn.Sequential(nn.Conv2d(3, 4, 6), nn.Flatten()).eval(), example=X[:1])
    data = wb.data({"train": (X, labels), "validation": (X, NUMBERS), "test": (X, NUMBERS)})
    with pytest.raises(BadValue, match=says):
        wb.Study(model, data).run(wb.Finetune(1), progress=False)
    with pytest.raises(BadValue, match=says):  # without a study too
        wb.compress(model, wb.Finetune(1), data=data)


def test_a_class_that_does_not_occur_in_training() -> None:
    """Weights of classes are those of the network's outputs, also where the last one has no image."""
    torch.manual_seed(0)
    x = torch.randn(60, 3, 6, 6)
    labels = torch.arange(60) % 3  # of 4
    model = wb.load(nn.Sequential(nn.Conv2d(3, 4, 6), nn.Flatten()).eval(), example=x[:1])
    data = wb.data({"train": (x, labels), "test": (x, labels)})
    before, after = model.module, wb.compress(model, wb.Finetune(2, balance=True, distill="none", augment="none"), data)
    loss = [nn.functional.cross_entropy(net(x), labels).item() for net in (before, after.module)]
    assert loss[1] < loss[0]


def test_training_on_pixels_leaves_out_those_of_no_class() -> None:
    """The gradient of a void pixel is zero, as in torch's own loss with `ignore_index`."""
    from workbench.tasks.entropy import cross_entropy

    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    labels = torch.randint(0, 3, (2, 4, 4))
    labels[:, 0] = 255
    labels[:, 1] = -1
    loss = cross_entropy(logits, labels)
    kept = logits.permute(0, 2, 3, 1)[:, 2:].reshape(-1, 3)
    assert loss.item() == pytest.approx(nn.functional.cross_entropy(kept, labels[:, 2:].reshape(-1)).item(), rel=1e-5)
    loss.backward()
    assert logits.grad is not None and not logits.grad[:, :, :2].any()
    assert float(cross_entropy(logits.detach(), torch.full((2, 4, 4), 255))) == 0


def test_training_needs_class_numbers() -> None:
    model = wb.load(nn.Sequential(nn.Conv2d(3, 4, 6), nn.Flatten()).eval(), example=X[:1])
    data = wb.data({"train": (X, torch.rand(8)), "test": (X, torch.rand(8))})
    for step in (wb.Finetune(1), wb.Finetune(1, balance=True)):
        with pytest.raises(BadValue, match="labels are float32 of shape .*not plain"):
            wb.compress(model, step, data)
