"""A study from end to end on a tiny network: cache, persistence, cancel, frame, front, export."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from tiny import CLASSES, SHAPE, tiny_data, tiny_model

import workbench as wb
from workbench.errors import BadFile, BadValue, Cancelled, ExportFailed, StepFailed, UnknownName
from workbench.estimate import Estimate
from workbench.files.content import content_name
from workbench.frames.frame import where_rows
from workbench.frames.pareto import front
from workbench.jobs import Reporter
from workbench.measure.figures import notes
from workbench.recipe import as_recipe
from workbench.tasks.classification import CLASSIFICATION
from workbench.tasks.segmentation import SEGMENTATION

PRUNED = wb.Prune(ratio=0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def study(folder: Path) -> wb.Study:
    study = wb.Study(tiny_model(), tiny_data(), path=folder)
    study.run(PRUNED, progress=False)
    return study


def test_the_original_is_measured_first_and_is_right(study: wb.Study) -> None:
    assert [v.name for v in study.variants] == ["original", "Prune 0.5"]
    assert study.baseline["accuracy"].value == 1.0  # its own answers are the labels
    assert study.baseline["speedup"] == Estimate(1.0, 1.0, 1.0, study.baseline["speedup"].n)


def test_the_artefact_is_the_module(study: wb.Study) -> None:
    variant = study.variants[1]
    x = np.random.default_rng(0).standard_normal((5, *SHAPE)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(variant.onnx), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: x})[0]
    with torch.no_grad():
        expected = variant.module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_figures_agree_with_the_finished_module(study: wb.Study) -> None:
    variant = study.variants[1]
    cost = wb.cost(variant.module, torch.zeros(1, *SHAPE))
    assert (variant["macs"].value, variant["params"].value) == (cost.macs, cost.params)
    assert variant["file_bytes"].value == variant.onnx.stat().st_size
    latency = variant["latency_ms"]
    assert 0 < latency.low <= latency.value <= latency.high and latency.unit == "ms"


def test_the_same_recipe_comes_from_the_cache(study: wb.Study) -> None:
    assert study.run(PRUNED) is study.variants[1]
    assert study.submit(PRUNED).result(10) is study.variants[1]


def test_reopening_restores_every_variant(study: wb.Study, folder: Path) -> None:
    again = wb.Study(tiny_model(), tiny_data(), path=folder)
    pd.testing.assert_frame_equal(again.frame(), study.frame())
    x = torch.randn(2, *SHAPE)
    torch.testing.assert_close(again[study.variants[1].id].module(x), study.variants[1].module(x), rtol=0, atol=0)


def test_a_folder_of_another_study_is_refused(study: wb.Study, folder: Path) -> None:
    with pytest.raises(BadFile, match="another model"):
        wb.Study(tiny_model(seed=1), tiny_data(), path=folder)


def test_a_broken_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(BadFile, match=r"study\.sqlite"):
        wb.Study(tiny_model(), tiny_data(), path=tmp_path)


def test_a_failed_or_cancelled_run_loses_nothing(study: wb.Study, folder: Path) -> None:
    before = study.frame()
    job = study.submit(wb.Prune(ratio=0.7))
    job.cancel()
    with pytest.raises(Cancelled):
        job.result(30)
    with pytest.raises(UnknownName, match="conv9"):
        study.run(wb.Prune(layers="conv9"))
    pd.testing.assert_frame_equal(study.frame(), before)
    with sqlite3.connect(folder / "study.sqlite") as database:
        assert database.execute("SELECT COUNT(*) FROM variants").fetchone() == (2,)
    assert not [p for p in folder.iterdir() if p.is_dir() and p.name != "artefacts"], "temporary folders were left"


def test_progress_is_reported_to_a_function(study: wb.Study) -> None:
    seen: list[tuple[float, str]] = []
    study.run(wb.Prune(ratio=0.2), progress=lambda fraction, stage: seen.append((fraction, stage)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert len({stage for _, stage in seen}) >= 3


def test_data_that_do_not_fit_the_model_are_refused() -> None:
    wrong = wb.data({"test": (torch.zeros(3, 1, 12, 12), torch.zeros(3))})
    with pytest.raises(BadValue, match=r"\(1, 12, 12\).*\(2, 12, 12\)"):
        wb.Study(tiny_model(), wrong)
    many = wb.data({"test": (torch.zeros(3, *SHAPE), torch.tensor([0, 1, CLASSES]))})
    with pytest.raises(BadValue, match=f"go from 0 to {CLASSES}, and the network tells {CLASSES} classes apart"):
        wb.Study(tiny_model(), many)


def test_the_frame_names_its_units(study: wb.Study) -> None:
    frame = study.frame()
    assert {"accuracy", "accuracy_low", "latency_ms", "latency_ms_high", "macs", "file_bytes"} <= set(frame.columns)
    assert frame.is_baseline.tolist()[:2] == [True, False]
    assert wb.Recipe.from_json(frame.recipe[1]) == wb.Recipe((PRUNED,))


def test_the_front_by_hand() -> None:
    frame = pd.DataFrame({"latency_ms": [3.0, 1.0, 2.0, 2.0, None], "accuracy": [0.9, 0.7, 0.9, 0.8, 1.0]})
    assert front(frame, "latency_ms", "accuracy").index.tolist() == [1, 2]
    assert front(frame, "accuracy", "latency_ms").index.tolist() == [1, 2]
    with pytest.raises(UnknownName, match="latency_ms"):
        front(frame, "latency", "accuracy")


@pytest.mark.parametrize(
    ("limit", "rows"),
    [
        ("accuracy >= 0.8", [0, 2, 3]),
        ("accuracy>0.8 and latency_ms <= 2", [2]),
        (None, [0, 1, 2, 3]),
        (" ", [0, 1, 2, 3]),
    ],
)
def test_limits(limit: str | None, rows: list[int]) -> None:
    frame = pd.DataFrame({"latency_ms": [3.0, 1.0, 2.0, 2.5], "accuracy": [0.9, 0.7, 0.9, 0.8]})
    assert where_rows(frame, limit).index.tolist() == rows


@pytest.mark.parametrize(
    "limit", ["accuracy", "accuracy >= high", "__import__('os')", "@x > 1", "name == 3", "acc > 1"]
)
def test_limits_that_cannot_be_read(limit: str) -> None:
    frame = pd.DataFrame({"accuracy": [0.9], "name": ["x"]})
    with pytest.raises((BadValue, UnknownName)):
        where_rows(frame, limit)


def test_pareto_of_a_study(study: wb.Study) -> None:
    found = study.pareto("accuracy", "compressed_bytes", where="accuracy >= 0")
    assert found.compressed_bytes.is_monotonic_increasing and found.accuracy.is_monotonic_increasing
    for row in study.frame().itertuples():
        beaten = ((found.accuracy >= row.accuracy) & (found.compressed_bytes <= row.compressed_bytes)).any()
        assert beaten, f"{row.name} is neither on the front nor beaten by it"


def test_a_collapsed_or_slower_variant_says_so() -> None:
    original = {
        "accuracy": Estimate(0.9, 0.89, 0.91), "speedup": Estimate(1, 1, 1), "compressed_bytes": Estimate(99, 99, 99),
    }  # fmt: skip
    bad = original | {"accuracy": Estimate(0.11, 0.1, 0.12), "speedup": Estimate(0.8, 0.7, 0.9)}
    said = " ".join(notes(bad, original, (CLASSIFICATION, 10)))
    assert "near chance" in said and "Slower" in said and "did not shrink" in said
    good = {
        "accuracy": Estimate(0.9, 0.89, 0.91), "speedup": Estimate(2, 1.9, 2), "compressed_bytes": Estimate(50, 50, 50),
    }  # fmt: skip
    assert notes(good, original, (CLASSIFICATION, 10)) == ()
    iou = {"miou": Estimate(0.6, 0.5, 0.7), **{k: v for k, v in good.items() if k != "accuracy"}}
    said = " ".join(notes(iou | {"miou": Estimate(0.04, 0.03, 0.05)}, iou, (SEGMENTATION, 0)))
    assert "Mean IoU 4.0% is less than a tenth of the original's: this variant has collapsed." in said


@pytest.mark.parametrize("format", ["onnx", "safetensors"])
def test_an_export_is_what_was_measured(study: wb.Study, tmp_path: Path, format: str) -> None:  # noqa: A002
    variant = study.variants[1]
    manifest = wb.export(variant, tmp_path / "out", format=format)
    stored = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert stored["verified"]["accuracy"] == pytest.approx(variant["accuracy"].value)
    assert wb.Recipe.load(tmp_path / "out" / "recipe.yaml") == variant.recipe
    beside = {"baseline.onnx"} if format == "onnx" else set()
    assert set(manifest.files) == {f"model.{format}", "recipe.yaml", "canary.npz", "check.py", *beside}


def test_an_artefact_that_gives_other_outputs_is_not_exported(study: wb.Study, tmp_path: Path) -> None:
    from dataclasses import replace

    variant = study.variants[1]
    tampered = tmp_path / "tampered.safetensors"
    from workbench.models.structure import save_variant

    module = variant.module
    with torch.no_grad():
        module.head.bias[0] += 5
    save_variant(module, variant.model, tampered)
    tampered = tampered.rename(tmp_path / content_name(tampered))  # else its name would already tell
    with pytest.raises(ExportFailed, match="other outputs"):
        wb.export(replace(variant, weights=tampered), tmp_path / "out", format="safetensors")
    assert not (tmp_path / "out").exists()


def test_formats_are_known(study: wb.Study, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="onnx"):
        wb.export(study.baseline, tmp_path, format="onxx")
    formats = wb.export.formats()
    assert formats[0] == "onnx" and {"safetensors", "bundle"} <= {*formats}


def test_int8_is_refused_as_safetensors(study: wb.Study, tmp_path: Path) -> None:
    variant = study.run(wb.Quantize("int8"), progress=False)
    assert onnx.load(str(variant.onnx)).graph.node
    with pytest.raises(BadValue, match="only in the ONNX artefact"):
        wb.export(variant, tmp_path / "out", format="safetensors")
    manifest = wb.export(variant, tmp_path / "out8")
    assert manifest.verified["largest_relative_difference"] == 0


def test_a_step_that_finds_nothing_to_do_says_so_and_changes_nothing(study: wb.Study) -> None:
    variant = study.run(wb.Prune(ratio=0.0), progress=False)
    assert "Prune 0.0 changed no layer" in variant.notes[0]
    for name, value in variant.module.state_dict().items():
        assert torch.equal(value, study.model.module.state_dict()[name]), name


def test_variants_made_in_one_job_have_their_own_notes(tmp_path: Path) -> None:
    """As a search makes them."""
    study, report = wb.Study(tiny_model(), tiny_data(), tmp_path), Reporter()
    recipes = [wb.Prune(0.4) | wb.Finetune(1, lr=1e-6), wb.Prune(0.6), wb.SVD(0.5)]
    made = [study._make(as_recipe(one), report) for one in recipes]
    for one in made[1:]:
        assert not [note for note in one.notes if "Finetune" in note or "Prune 0.4" in note]
        assert "Finetune" not in one.taken
    assert [note for note in made[1].notes if "Prune 0.6" in note]
    assert "Finetune" in made[0].taken


def test_compress_without_a_study() -> None:
    small = wb.compress(tiny_model(), PRUNED)
    assert int((small.module.conv2.weight == 0).sum()) > 0
    with pytest.raises(BadValue, match="Study.run"):
        wb.compress(tiny_model(), wb.Quantize("fp16"))


def test_a_network_that_overflows_is_not_a_variant() -> None:
    model = tiny_model()
    model.module.conv1.weight.data *= 1e38
    model.module.conv2.weight.data *= 1e38
    with pytest.raises(StepFailed, match="NaN or infinite"):
        wb.compress(model, wb.Prune(ratio=0.1), data=None)
