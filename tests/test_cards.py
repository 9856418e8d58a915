"""What a model card says is what the network in the package is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import workbench as wb
from workbench.untrusted import read_metadata

MODELS = Path(wb.__file__).parent / "models"
NAMES = ("fashion-vgg", "fashion-resnet", "fashion-mobilenet")
LESSONS = ("fashion-squeezenet", "fashion-shufflenet", "fashion-seresnet", "scenes-enet", "tones-dscnn")


@pytest.mark.parametrize("name", [*NAMES, *LESSONS])
def test_the_card_states_the_figures_of_the_file(name: str) -> None:
    card = (MODELS / "cards" / f"{name}.md").read_text()
    row = wb.catalog().set_index("name").loc[name]
    stated = {label.strip(): value for label, value in re.findall(r"^\| ([^|]+) \| (.+) \|$", card, re.MULTILINE)}
    assert stated["MACs, parameters"] == f"{int(row.macs):,} and {int(row.params):,}"
    figure = read_metadata(MODELS / f"{name}.safetensors")
    label, value = ("test mean IoU", "test_miou") if "test_miou" in figure else ("test accuracy", "test_accuracy")
    assert stated[label].startswith(f"{100 * float(figure[value]):.2f} %")
    assert stated["file"].startswith(f"{int(row.file_bytes):,} bytes")


def test_the_three_files_weigh_under_10_mb_together() -> None:
    assert sum((MODELS / f"{name}.safetensors").stat().st_size for name in NAMES) < 10e6
