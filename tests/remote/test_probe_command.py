"""The command opens a kept study again and measures it elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from daemon import HOST, serving
from tiny import SHAPE, TinyNet
from typer.testing import CliRunner

import workbench as wb
from workbench.cli import app
from workbench.errors import UnknownName
from workbench.onnx_file import write_onnx


def test_a_kept_study_from_the_shell(tmp_path: Path) -> None:
    net, data, place = (str(tmp_path / name) for name in ("net.onnx", "data.npz", "study"))
    write_onnx(TinyNet().eval(), torch.zeros(1, *SHAPE), Path(net))
    images = np.random.default_rng(0).standard_normal((40, *SHAPE)).astype(np.float32)
    labels = np.arange(40) % 4
    np.savez(data, train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    study = wb.Study(wb.load(net), wb.data(data), path=place)
    study.run(wb.SVD(rank=0.5), progress=False)
    command = [HOST, place, "--model", net, "--data", data, "--seconds", "0.1", "--python", sys.executable]
    with serving(tmp_path) as daemon:
        done = CliRunner().invoke(app, ["probe", *command, "--config", str(daemon.config)])
    assert done.exit_code == 0, done.output + repr(done.exception)
    assert "speedup" in done.output and "original" in done.output
    assert [one.host for one in study.probes] == [HOST]
    with pytest.raises(UnknownName, match="nothing"):
        CliRunner().invoke(app, ["probe", HOST, place, "nothing", *command[2:]], catch_exceptions=False)
