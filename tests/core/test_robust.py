"""What must hold whatever happens: a killed process loses nothing finished; nothing is chosen on test."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import tiny_data, tiny_model

import workbench as wb
from workbench.building import build
from workbench.data import Data, Split
from workbench.data.source import Later, Source
from workbench.jobs import Reporter

ENDLESS = """
import sys
sys.path.insert(0, sys.argv[2])
from tiny import tiny_data, tiny_model
import workbench as wb

study = wb.Study(tiny_model(), tiny_data(), path=sys.argv[1])
for percent in range(1, 90):
    print(study.run(wb.Prune(ratio=percent / 100), progress=False).id, flush=True)
"""


def test_a_killed_process_loses_no_finished_variant(tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(tmp_path / "study"), here], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    finished = [process.stdout.readline().strip() for _ in range(2)]
    process.kill()
    process.wait()
    process.stdout.close()
    again = wb.Study(tiny_model(), tiny_data(), path=tmp_path / "study")
    assert set(finished) <= {variant.id for variant in again.variants}
    for variant in again.variants:
        assert variant.onnx.stat().st_size == variant["file_bytes"].value
        assert bool(variant.module(torch.zeros(1, 2, 12, 12)).isfinite().all())


def _sealed() -> Data:
    def sealed() -> Source:
        raise AssertionError("the test split was looked at while a variant was made")

    data = tiny_data()
    return Data("sealed", {**data.splits, "test": Split("test", Later(sealed))}, data.classes)


@pytest.mark.parametrize("name", sorted(wb.steps.REGISTRY))
def test_no_step_looks_at_the_test_split(name: str, tmp_path: Path) -> None:
    recipe = wb.Recipe((wb.steps.REGISTRY[name](),))
    module = build.rewrite(tiny_model(), recipe, _sealed())
    build.lower(module, tiny_model(), recipe, _sealed(), tmp_path / "model.onnx", Reporter())
    assert (tmp_path / "model.onnx").stat().st_size > 0
