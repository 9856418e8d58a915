"""A network of several inputs, by place or by name, goes through a study as one of a single input does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import workbench as wb
from workbench.errors import BadValue
from workbench.runtimes import runtime

N = 160


class Two(nn.Module):
    """An image and a few words about it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 3, stride=2)
        self.words, self.hidden, self.head = nn.Embedding(20, 8), nn.Linear(24, 16), nn.Linear(16, 4)

    def forward(self, image: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        seen = torch.relu(self.b(torch.relu(self.norm(self.a(image))))).mean((2, 3))
        return self.head(torch.relu(self.hidden(torch.cat([seen, self.words(words).mean(1)], 1))))


def tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    image, words = torch.randn(N, 3, 10, 10, generator=random), torch.randint(20, (N, 5), generator=random)
    return image, words, torch.randint(4, (N,), generator=random)


def given(kind: str, rows: slice) -> Any:
    image, words, labels = (one[rows] for one in tensors())
    return ({"image": image, "words": words} if kind == "named" else (image, words)), labels


def model(kind: str) -> wb.Model:
    torch.manual_seed(1)
    return wb.load(Two().eval(), example=given(kind, slice(1))[0])


def study_of(kind: str) -> wb.Study:
    rows = {"train": slice(0, 80), "validation": slice(80, 120), "test": slice(120, N)}
    return wb.Study(model(kind), wb.data({name: given(kind, one) for name, one in rows.items()}), keep=False)


@pytest.fixture(scope="module", params=["places", "named"])
def study(request: pytest.FixtureRequest) -> wb.Study:
    return study_of(request.param)


def test_the_original_is_measured_rightly(study: wb.Study) -> None:
    image, words, labels = (one[120:] for one in tensors())
    torch.manual_seed(1)
    with torch.no_grad():
        right = Two().eval()(image, words).argmax(1) == labels
    assert study.baseline["accuracy"].value == pytest.approx(float(right.double().mean()))


@pytest.mark.parametrize(
    "recipe",
    [
        wb.Tucker(0.6), wb.Tucker(0.6, asymmetric=True), wb.PruneChannels(0.3, importance="taylor"),
        wb.Finetune(1, distill="hints"), wb.Quantize("int8", bias_correction=True), wb.Quantize("int8", max_drop=0.01),
        wb.Tucker(0.6) | wb.QAT(epochs=1), wb.Prune(0.5, importance="activation"),
    ],
    ids=lambda recipe: getattr(recipe, "brief", "chain"),
)  # fmt: skip
def test_every_kind_of_step_works_on_it(study: wb.Study, recipe: Any) -> None:
    assert 0 <= study.run(recipe, progress=False)["accuracy"].value <= 1


def test_full_rank_is_exact(study: wb.Study) -> None:
    variant = study.run(wb.Tucker(1.0, data_aware=False) | wb.SVD(1.0, data_aware=False), progress=False)
    original, found = (runtime().load(v.onnx) for v in (study.baseline, variant))
    image, words, _ = tensors()
    pair = (image.numpy(), words.numpy())
    np.testing.assert_allclose(found.run(pair), original.run(pair), atol=1e-4)


def test_what_is_asked_about_it(study: wb.Study, tmp_path: Path) -> None:
    variant, other = (study.run(one, progress=False) for one in (wb.Tucker(0.6), wb.SVD(0.4)))
    assert len(study.diagnose(variant, progress=False).layers) == 4
    study.compare(variant, other, progress=False)
    study.bisect(variant, progress=False)
    study.sensitivity(wb.SVD(0.4), progress=False)
    found = study.portability(variant, ["onnxruntime", "torch"], images=30, progress=False).set_index("runtime")
    assert found.loc["torch", "largest_logit_difference"] < 1e-4 and not found["note"].any()
    for kind in ("onnx", "safetensors", "bundle"):
        wb.export(variant, tmp_path / kind, format=kind)


class Items(Dataset[Any]):
    def __init__(self, form: str) -> None:
        self.form, self.all = form, tensors()

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        image, words, label = (one[index] for one in self.all)
        if self.form == "flat":
            return {"image": image, "words": words, "label": int(label), "name": f"image {index}"}
        return ((image, words) if self.form == "tuple" else {"words": words, "image": image}), int(label)


@pytest.mark.parametrize("form", ["tuple", "dict", "flat"])
@pytest.mark.parametrize("loader", [False, True])
def test_data_sets_and_loaders_of_several_inputs(form: str, loader: bool) -> None:
    items = Items(form)
    data = wb.data({"test": DataLoader(items, 32) if loader else items})
    example = given("places" if form == "tuple" else "named", slice(1))[0]
    image, words, labels = tensors()
    found = data.like(example)["test"]
    for index, (inputs, known) in enumerate(found.batches(50)):
        parts = inputs if isinstance(inputs, tuple) else (inputs["image"], inputs["words"])
        rows = slice(50 * index, 50 * index + 50)
        assert torch.equal(parts[0], image[rows]) and torch.equal(parts[1], words[rows])
        assert torch.equal(known, labels[rows])


def test_pixels_among_several_inputs_are_scaled() -> None:
    image, words, labels = tensors()
    pixels = (image.clamp(0, 1) * 255).to(torch.uint8)
    (inputs, _) = next(wb.data({"test": ((pixels, words), labels)}, mean=0.5, std=0.25)["test"].batches(4))
    torch.testing.assert_close(inputs[0], (pixels[:4].float() / 255 - 0.5) / 0.25)
    assert torch.equal(inputs[1], words[:4])


def test_what_does_not_fit_is_said() -> None:
    image, words, labels = tensors()
    for inputs, says in [
        (image, r"takes 2 inputs of shape .*has one input"),
        ((image, words, words), "takes 2 inputs .*has 3 inputs"),
        ({"image": image, "words": words}, "a tuple of tensors"),
        ((image[..., :9], words), r"\(3, 10, 9\) for input 1, the model .*takes \(3, 10, 10\)"),
        ((image, image), "whole numbers"),
        ((image, words[:9]), r"\[9, 160\] in number"),
    ]:
        with pytest.raises(BadValue, match=says):
            wb.Study(model("places"), wb.data({"test": (inputs, labels)}), keep=False)
    with pytest.raises(BadValue, match="words is missing"):
        wb.Study(model("named"), wb.data({"test": ({"image": image, "text": words}, labels)}), keep=False)


def test_named_inputs_that_a_network_does_not_take_are_left_out() -> None:
    image, words, labels = tensors()
    data = wb.data({"test": ({"more": words, "words": words, "image": image}, labels)})
    (inputs, _) = next(data.like(model("named").example)["test"].batches(3))
    assert list(inputs) == ["image", "words"] and torch.equal(inputs["words"], words[:3])


def test_the_screen_shows_shapes_where_there_are_no_pictures(study: wb.Study) -> None:
    from workbench.report.about import shapes_text
    from workbench_widgets.gallery import fits
    from workbench_widgets.noise import noise

    data = noise(study.model)
    assert fits(study.model, data) and fits(study.model, study.data)
    assert not fits(wb.load(Two().a, example=(1, 3, 9, 9)), study.data)
    named = isinstance(study.model.example, dict)
    first, second = ("image", "words") if named else ("input 1", "input 2")
    assert shapes_text(study.model.example).replace("\u00a0", " ") == f"{first} (3 × 10 × 10), {second} (5)"
    variant = wb.Study(study.model, data, keep=False).run(wb.Quantize("int8"), progress=False)
    assert 0.5 < variant["agreement"].value <= 1
