"""`wb.export(variant, folder, format="c99")`: what it writes, what it proves, what it refuses."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import kills
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.c99.compiling import compiler, sections
from workbench.c99.program import Map
from workbench.c99.text import comment, name_of, number, struct_of
from workbench.errors import BadFile, BadValue, ExportFailed
from workbench.exporters import c99
from workbench.manifest import read_manifest
from workbench.proof.checking import checked
from workbench.variant import Variant

needs_compiler = pytest.mark.skipif(not compiler(), reason="no C compiler is installed (cc, gcc or clang)")
FILES = {
    "CMakeLists.txt", "check.c", "example.h", "kernels.h", "network.c", "network.h", "network.ino", "recipe.yaml",
    "weights.c", "weights.h", "canary.npz", "check.py",
}  # fmt: skip


SHAPE = (3, 8, 8)


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 12, 1), nn.AdaptiveAvgPool2d(1))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(12, 4)).eval()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> wb.Study:
    inputs = torch.randn(200, *SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        labels = network()(inputs).argmax(1)
    splits = dict.fromkeys(("train", "calibration", "test"), (inputs, labels))
    model = wb.load(network(), example=inputs[:1])
    return wb.Study(model, wb.data(splits, name="noise"), path=tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def variant(study: wb.Study) -> Variant:
    with kills.untimed():
        return study.run(wb.Quantize("int8", types="u8s8", stem="int8"), progress=False)


@pytest.fixture(scope="module")
def folder(variant: Variant, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export, for tests that only look."""
    wb.export(variant, tmp_path_factory.mktemp("c99") / "network", format="c99")
    return Path(read_manifest(next(tmp_path_factory.getbasetemp().glob("c99*/network"))).path)


@needs_compiler
def test_it_is_compiled_run_and_measured(folder: Path, variant: Variant) -> None:
    manifest = read_manifest(folder)
    assert set(manifest.files) == FILES
    assert manifest.proven and manifest.verified["largest_relative_difference"] <= 1 / 255
    assert manifest.verified["accuracy"] == pytest.approx(variant["accuracy"].value, abs=0.01)
    assert manifest.verified["ram_bytes"] <= manifest.verified["predicted_ram_bytes"]
    weights = variant["params"].value
    assert weights < manifest.verified["flash_bytes"] < 20 * weights + 20_000
    assert manifest.verified["predicted_ram_bytes"] == variant["peak_activation_bytes"].value


@needs_compiler
def test_its_code_is_run_for_those_who_say_that_they_trust_it(folder: Path) -> None:
    with pytest.raises(BadFile, match=r"network\.c was not run: .* Add --run-code where you trust"):
        checked(folder, seconds=0)
    report = checked(folder, seconds=0, run_code=True)
    assert not report.differs and "Outputs on" in " ".join(report.agrees)


@needs_compiler
def test_the_same_variant_gives_the_same_files(folder: Path, variant: Variant, tmp_path: Path) -> None:
    again = wb.export(variant, tmp_path / "again", format="c99").files
    assert again == read_manifest(folder).files


@needs_compiler
@pytest.mark.parametrize("level", ["-O0", "-O2", "-Os", "-O3"])
def test_no_warning_at_any_level(folder: Path, tmp_path: Path, level: str) -> None:
    command = [compiler(), "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", level]
    files = ["network.c", "weights.c", "check.c", "-o", tmp_path / "check", "-lm"]
    subprocess.run([*command, *files], cwd=folder, check=True)
    said = subprocess.run([tmp_path / "check"], check=True, capture_output=True, text=True).stdout
    assert said.endswith("the answers agree\n")


@needs_compiler
def test_a_number_that_changes_is_found_by_the_program_itself(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    text = (tmp_path / "copy" / "weights.c").read_text()
    head = text.index("6_weights[")
    start = text.index("{", head) + 1
    stop = text.index("}", head)
    (tmp_path / "copy" / "weights.c").write_text(text[:start] + text[start:stop].replace("-", "") + text[stop:])
    command = [compiler(), "-std=c99", "network.c", "weights.c", "check.c", "-o", "check", "-lm"]
    subprocess.run(command, cwd=tmp_path / "copy", check=True)
    done = subprocess.run(["./check"], cwd=tmp_path / "copy", check=False, capture_output=True, text=True)
    assert done.returncode == 1 and "THE ANSWERS DIFFER" in done.stdout


def test_the_cmake_project_builds_and_its_test_passes(folder: Path, tmp_path: Path) -> None:
    if not compiler() or not shutil.which("cmake"):
        pytest.skip("CMake or a C compiler is missing")
    for command in (["cmake", "-B", tmp_path, "-S", folder], ["cmake", "--build", tmp_path]):
        subprocess.run(command, check=True, capture_output=True)
    subprocess.run(["ctest"], cwd=tmp_path, check=True, capture_output=True)


def test_the_sketch_compiles_as_arduino_compiles_it(folder: Path, tmp_path: Path) -> None:
    """As C++, behind what Arduino declares; the files beside it as C, with Arduino's name defined."""
    plus = shutil.which("g++") or shutil.which("c++")
    if not compiler() or not plus:
        pytest.skip("a C++ compiler is missing")
    arduino = (
        "struct Port { void begin(long); template <class T> void print(T); template <class T> void println(T); };\n"
        "extern Port Serial;\nunsigned long micros();\nvoid delay(unsigned long);\n"
    )
    (tmp_path / "sketch.cpp").write_text(arduino + (folder / "network.ino").read_text())
    command = [plus, "-Wall", "-Werror", "-I", str(folder), "-c", "sketch.cpp", "-o", "sketch.o"]
    subprocess.run(command, cwd=tmp_path, check=True)
    for name in ("network.c", "weights.c", "check.c"):
        command = [compiler(), "-std=gnu11", "-Wall", "-Werror", "-DARDUINO=10819", "-c", str(folder / name)]
        subprocess.run([*command, "-o", "one.o"], cwd=tmp_path, check=True)


@needs_compiler
def test_c_that_answers_otherwise_is_not_exported(
    variant: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = c99.written

    def broken(*given: object) -> object:
        files, layout = honest(*given)  # type: ignore[arg-type]
        spoilt = {k: v.replace("sums[k] * p->scale", "sums[k] * 1.1f * p->scale") for k, v in files.items()}
        assert spoilt != files
        return spoilt, layout

    monkeypatch.setattr(c99, "written", broken)
    with pytest.raises(ExportFailed, match="other outputs"):
        wb.export(variant, tmp_path / "out", format="c99")
    assert not (tmp_path / "out").exists()


def test_without_a_compiler_it_says_that_nothing_was_run(
    variant: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c99, "compiler", lambda: "")
    manifest = wb.export(variant, tmp_path / "out", format="c99")
    assert not manifest.proven and "There is no C compiler here" in manifest.notes[-1]
    assert set(manifest.files) == FILES and "flash_bytes" not in manifest.verified


def test_a_variant_in_float_is_written_in_float_or_refused_by_name(study: wb.Study, tmp_path: Path) -> None:
    with kills.untimed():
        baseline = study.run(wb.Recipe(), progress=False)
    with pytest.raises(BadValue, match=r"C99 cannot hold \w+ of the layer '.+': it computes in float"):
        wb.export(baseline, tmp_path / "out", format="c99")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["*/ int evil; /*", 'a"b\\', "2.conv", "__x", "Größe\n#define", "int", "??/", ""])
def test_names_of_layers_become_no_c(name: str) -> None:
    one = name_of(name, "weights", {})
    assert one.isidentifier() and one.isascii() and not one.startswith("_") and one != "int"
    said = comment(f"layer {name}: a layer")
    assert said.startswith("/*") and said.endswith("*/")
    assert "*/" not in said[2:-2] and "/*" not in said[2:-2] and "??" not in said and said.isascii()


def test_two_layers_of_one_name_have_two_names_and_numbers_stay_what_they_are() -> None:
    taken: dict[str, int] = {}
    for layer in ("a.b", "a_b", "a/b"):
        taken[name_of(layer, "bias", taken)] = 1
    assert list(taken) == ["a_b_bias", "a_b_bias_2", "a_b_bias_3"]
    assert [number(one) for one in (3, -1, 0.5, 1e-10)] == ["3", "-1", "0.5f", "1e-10f"]
    assert struct_of(Map(3, 4, 5)) == "{4, 5, 3}"


def test_what_is_no_elf_object_has_no_sections() -> None:
    assert sections(b"MZ" + bytes(100)) is None
