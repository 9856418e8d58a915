"""The command line, from the arguments to the exit code."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from workbench import cli, dashboard
from workbench.cli import app
from workbench.errors import StepFailed, WorkbenchError
from workbench.untrusted.quota import Quota

#: A server begins to listen to a kernel a moment after that kernel is ready.
PRINTING = "import time\ntime.sleep(1)\nprint(6 * 7)"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def exit_of(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of the installed command."""
    monkeypatch.setattr(sys, "argv", ["workbench", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_info_agrees_with_torch_on_every_parameter() -> None:
    from workbench.models.architectures import FashionMobileNet

    shown = invoke("info", "fashion-mobilenet")
    assert shown.exit_code == 0
    total = next(line for line in shown.stdout.splitlines() if "all layers" in line)
    assert f"{sum(p.numel() for p in FashionMobileNet().parameters()):,}" in total


def test_info_without_a_name_lists_the_bundled_models() -> None:
    shown = invoke("info").stdout
    assert all(name in shown for name in ("fashion-vgg", "fashion-resnet", "fashion-mobilenet"))


def test_run_exports_what_it_measured(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"recipe": [{"step": "Quantize", "precision": "fp16"}]}))
    shown = invoke("run", "fashion-mobilenet", str(recipe), "--out", str(tmp_path / "out"))
    assert shown.exit_code == 0, shown.stdout
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    accuracy = manifest["estimates"]["accuracy"]
    assert accuracy["low"] <= manifest["verified"]["accuracy"] <= accuracy["high"]
    assert f"{accuracy['value']:.2%}" in shown.stdout
    assert manifest["recipe"] == [{"step": "Quantize", "precision": "fp16"}]


def test_certify_is_a_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half precision changes next to no answer; of a network with one weight in a hundred left nothing is left."""
    steps = {"half": {"step": "Quantize", "precision": "fp16"}, "ruined": {"step": "Prune", "ratio": 0.99}}
    for name, step in steps.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"recipe": [step]}))
    study = ("--study", str(tmp_path / "study"))
    passed = invoke("certify", "fashion-mobilenet", str(tmp_path / "half.yaml"), *study)
    assert (passed.exit_code, passed.stdout.strip()[:7]) == (0, "Passes.")
    assert "loses at most 1 point of accuracy (95 %)" in " ".join(passed.stdout.split())
    failed = invoke("certify", "fashion-mobilenet", str(tmp_path / "ruined.yaml"), "--worst-class", *study)
    assert (failed.exit_code, failed.stdout.strip()[:6]) == (1, "Fails.")
    wrong = ("certify", "fashion-mobilenet", str(tmp_path / "half.yaml"), "--margin", "2", *study)
    assert exit_of(monkeypatch, *wrong) == cli.MISUSED


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("recipe:\n- step: Tukcer\n", "Did you mean 'Tucker'"),
        ("recipe:\n- step: Prune\n  ratio: 50\n", "For 50 % write 0.5"),
        ("recipe: [", "not YAML"),
        (None, "cannot be read"),
    ],
)
def test_a_bad_recipe_is_one_sentence_and_exit_code_2(
    content: str | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    if content is not None:
        recipe.write_text(content)
    code = exit_of(monkeypatch, "run", "fashion-mobilenet", str(recipe), "--out", str(tmp_path / "out"))
    said = capsys.readouterr().err
    assert code == 2
    assert said.startswith("Error: ")
    assert says in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_an_unknown_model_is_named_with_a_suggestion(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_of(monkeypatch, "info", "fashion-vg") == 2
    assert "'fashion-vg'. Did you mean 'fashion-vgg'?" in capsys.readouterr().err


def test_work_that_fails_has_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise StepFailed("Tucker failed on [conv1]: its weights are not finite.")

    monkeypatch.setattr(cli, "app", fail)
    assert exit_of(monkeypatch) == 1
    assert "[conv1]" in capsys.readouterr().err  # brackets are text, not markup


def test_an_unknown_option_has_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    assert exit_of(monkeypatch, "info", "--nonsense") == 2


def test_the_next_free_port_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind((dashboard.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert dashboard.free_port(port) != port


def test_a_server_that_cannot_start_says_so() -> None:
    with socket.socket() as taken:
        taken.bind((dashboard.HOST, 0))
        port = taken.getsockname()[1]  # bound, and nobody listens: the server cannot have it
        with pytest.raises(WorkbenchError, match="exit code"), dashboard.serving(port):
            pass


@pytest.mark.slow
def test_the_server_shows_the_page_runs_no_other_code_and_ends() -> None:
    port = dashboard.free_port(8900)
    with dashboard.serving(port, source=PRINTING, preheat=False) as (address, server):
        assert "<main>" in urllib.request.urlopen(address, timeout=60).read().decode()
        lines = urllib.request.urlopen(f"{address}visit", timeout=60).read().decode().split("\n")
        cells = [line for line in lines if line.startswith("{")]  # a slow start says now and then that it goes on
        assert any(json.loads(line).get("text") == "42\n" for line in cells), lines
        for path in ("voila/files/voila.json", "files/workbench.ipynb", "api/contents", "screen/server.py"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(address + path, timeout=10)
            assert refused.value.code in {403, 404}
    assert server.poll() is not None


@pytest.mark.slow
def test_without_its_token_nothing_opens() -> None:
    site = dashboard.Site(token=dashboard.new_token(), base_url="/some/where/")
    with dashboard.serving(dashboard.free_port(8930), PRINTING, preheat=False, site=site) as (address, _):
        bare, _, query = address.partition("?")
        assert bare.endswith("/some/where/")
        assert query == f"token={site.token}"
        for closed in (bare, f"{bare}?token=wrong", f"{bare}visit", f"{bare}api/kernels"):
            answer = _read(closed)
            assert '"42' not in answer
            assert "<main>" not in answer
        assert "<main>" in _read(address)
        assert '"42' in _read(f"{bare}visit?{query}")


def _read(address: str) -> str:
    """What the server answers, after redirects; nothing where it refuses."""
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            text: str = answer.read().decode()
            return text
    except urllib.error.HTTPError as refused:
        return "" if refused.code in {401, 403, 404} else f"not refused: {refused.code} <main>"


def test_the_command_asks_for_a_token_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dashboard.Site] = []

    def serving(port: int, *, site: dashboard.Site) -> None:
        asked.append(site)
        raise WorkbenchError("not started: this test only looks at the token")

    monkeypatch.setattr(dashboard, "serving", serving)
    monkeypatch.delenv("WORKBENCH_TOKEN", raising=False)
    for arguments in ((), (), ("--public",), ("--public", "--limit", "memory_mb=1500", "--limit", "visitors=3")):
        exit_of(monkeypatch, "dashboard", *arguments)
    assert len(asked[0].token) >= 32
    assert asked[0].token != asked[1].token
    assert asked[0].quota == Quota()  # one's own machine
    assert asked[2].token == ""
    assert None not in asdict(asked[2].quota).values()
    assert asked[3].quota == replace(dashboard.PUBLIC, memory_mb=1500)
    assert asked[3].visitors == 3


@pytest.mark.parametrize("given", ["memory=3", "memory_mb=much", "memory_mb=-1", "visitors=none", "visitors=0"])
def test_a_limit_that_cannot_be_is_a_sentence(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setattr(dashboard, "serving", lambda *_, **__: pytest.fail("it was started"))
    assert exit_of(monkeypatch, "dashboard", "--limit", given) == 2


@pytest.mark.slow
def test_ending_the_command_ends_its_server() -> None:
    port = dashboard.free_port(8950)
    command = [sys.executable, "-m", "workbench", "dashboard", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}/" in process.stdout.readline()
        process.terminate()
        process.wait(timeout=30)
    assert dashboard.free_port(port) == port


def test_the_notebook_of_the_checkout_is_the_page_that_is_served(root: Path) -> None:
    notebook = json.loads((root / "notebooks" / "dashboard.ipynb").read_text())
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code == [dashboard.SOURCE]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A network in an ONNX file, and pictures in a NumPy archive whose classes it tells apart as it always did."""
    import numpy as np
    import torch

    import workbench as wb
    from workbench.onnx_file import write_onnx

    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(16, 16, 3, padding=1), torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Linear(16 * 64, 3),
    ).eval()  # fmt: skip
    folder = tmp_path_factory.mktemp("small")
    model = wb.load(module, example=torch.zeros(1, 1, 8, 8))
    write_onnx(model.module, model.example, folder / "small.onnx")
    arrays = {}
    for split, count in (("train", 300), ("test", 100)):
        images = np.random.default_rng(count).normal(size=(count, 1, 8, 8)).astype(np.float32)
        with torch.no_grad():
            arrays |= {f"{split}_images": images, f"{split}_labels": module(torch.from_numpy(images)).argmax(1).numpy()}
    np.savez(folder / "small.npz", **arrays)
    return str(folder / "small.onnx"), str(folder / "small.npz")


@pytest.mark.slow
def test_search_finds_and_exports(small: tuple[str, str], tmp_path: Path) -> None:
    model, data = small
    given = ("search", model, "--data", data, "--minimise", "macs", "--where", "accuracy >= baseline - 0.95")
    kept = ("--budget", "5 s", "--study", str(tmp_path / "study"))
    shown = invoke(*given, *kept, "--out", str(tmp_path / "out"))
    assert shown.exit_code == 0, shown.stdout
    assert "within the limits" in shown.stdout
    assert "recipe = wb." in shown.stdout
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["estimates"]["macs"]["value"] < 16 * 64 * (9 + 9 * 16) + 3 * 1024


def test_a_search_that_cannot_reach_its_limit_says_which(
    small: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = small
    given = ("search", model, "--data", data, "--study", str(tmp_path / "study"), "--budget", "5 s")
    assert exit_of(monkeypatch, *given, "--minimise", "macs", "--where", "macs <= 10") == cli.MISUSED
    assert "the least that any choice reaches" in " ".join(capsys.readouterr().err.split())
    assert exit_of(monkeypatch, *given, "--budget", "soon") == cli.MISUSED


def test_the_live_display_names_figures_as_people_do(small: tuple[str, str], tmp_path: Path) -> None:
    import workbench as wb
    from workbench.live import Display

    study = wb.Study(wb.load(small[0]), wb.data(small[1]), tmp_path / "study")
    display = Display(study, "latency", "5 s")
    study.run(wb.Prune(0.5), progress=False)
    assert "Prune 0.5" in list(display._table().columns[3].cells)
