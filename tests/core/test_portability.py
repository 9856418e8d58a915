"""One tiny variant in every installed runtime; a made-up runtime that fails in each way that one can."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tiny import tiny_data, tiny_model

import workbench as wb
from workbench.errors import BadFile, BadValue, UnknownName
from workbench.runtimes import REGISTRY
from workbench.runtimes.base import Entry, Runtime, Session, register


@pytest.fixture(scope="module")
def study() -> wb.Study:
    study = wb.Study(tiny_model(), tiny_data())
    study.run(wb.Quantize("int8", types="u8s8"), progress=False)
    return study


@dataclass(frozen=True)
class Contrary(Session):
    """Says the opposite of the network, or cannot run."""

    session: Any
    how: str

    @property
    def entries(self) -> tuple[Entry, ...]:  # type: ignore[override]
        return self.session.entries

    def outputs(self, inputs: Any) -> list[npt.NDArray[Any]]:
        if self.how == "run":
            raise RuntimeError("the accelerator\nis on fire")
        return [-one for one in self.session.outputs(inputs)]


@dataclass(frozen=True)
class Made(Runtime):
    """A runtime that fails in one of several places."""

    name: str
    title: str
    how: str

    def _convert(self, source: Path, folder: Path) -> Path:
        if self.how == "convert":
            raise BadFile("no operator of that kind")
        return source

    def _load(self, path: Path, threads: int) -> Contrary:
        if self.how == "load":
            raise ValueError("cannot read this")
        return Contrary(REGISTRY["onnxruntime"].load(path, threads), self.how)


@pytest.fixture
def made() -> Any:
    for how in ("convert", "load", "run", "negates"):
        register(Made(f"made-{how}", "Made", how))
    yield
    for how in ("convert", "load", "run", "negates"):
        del REGISTRY[f"made-{how}"]


@pytest.mark.usefixtures("made")
def test_a_runtime_that_refuses_has_a_row_that_says_why(study: wb.Study) -> None:
    names = ["made-convert", "made-load", "made-run", "made-negates"]
    frame = study.portability(study.baseline, names, images=50, progress=False).set_index("runtime")
    assert list(frame.index) == ["onnxruntime", *names]
    assert frame.note["made-convert"] == "no operator of that kind"
    assert frame.note["made-load"].startswith("Made refuses the artefact")
    assert "cannot read this." in frame.note["made-load"]
    assert frame.note["made-run"] == "Made: the accelerator."
    assert frame.loc[names[:3], ["accuracy", "latency_ms", "speedup"]].isna().all(axis=None)
    # The last one computes; only the process that times knows nothing of it.
    test = study.data["test"]
    with torch.no_grad():
        logits = study.model.module(test.inputs[:50]).numpy()
    row = frame.loc["made-negates"]
    assert row.accuracy == (np.argmin(logits, 1) == test.labels[:50].numpy()).mean()
    assert row.disagreement == (logits.argmin(1) != logits.argmax(1)).mean()
    assert row.largest_logit_difference == pytest.approx(np.abs(2 * logits).max(), rel=1e-5)
    assert "no runtime named 'made-negates'" in row.note


def test_the_matrix(study: wb.Study) -> None:
    frame = study.portability(study.baseline, ["openvino"], images=100, progress=False)
    assert list(frame.runtime) == ["onnxruntime", "openvino"]
    assert (frame.note == "").all()
    assert (frame.accuracy == 1.0).all()  # the labels are the network's own answers
    assert (frame.disagreement == 0).all()
    assert (frame.largest_logit_difference < 1e-4).all()
    assert (frame.speedup_low <= frame.speedup).all() and (frame.speedup <= frame.speedup_high).all()
    assert frame.speedup[0] == 1


def test_what_torch_does_not_hold_is_said(study: wb.Study) -> None:
    frame = study.portability(study.variants[-1], ["torch"], images=20, progress=False)
    assert "exists only in the ONNX artefact" in frame.note[1]
    assert frame.note[0] == ""


def test_bad_requests(study: wb.Study) -> None:
    with pytest.raises(UnknownName, match="no runtime named 'tensorflow'"):
        study.portability(study.baseline, ["tensorflow"], progress=False)
    with pytest.raises(BadValue, match="threads=\\(0,\\)"):
        study.portability(study.baseline, threads=[0], progress=False)
    with pytest.raises(UnknownName, match="no variant named 'nothing'"):
        study.portability("nothing", progress=False)
