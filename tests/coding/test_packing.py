"""The bundle gives back the packed file byte for byte, also by the decoder that ships beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper, numpy_helper

from workbench.coding import pack, packed_bytes, unpack
from workbench.coding.bundle import shortest
from workbench.coding.decode import Damaged, Streams, elements


def write(path: Path, **arrays: np.ndarray) -> Path:
    """An ONNX file that holds these weights."""
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])]
    node = helper.make_node("Identity", [tensors[0].name], ["y"])
    onnx.save(helper.make_model(helper.make_graph([node], "net", [], out, tensors)), str(path))
    return path


def weights(kind: str) -> np.ndarray:
    random = np.random.default_rng(0)
    dense = random.standard_normal((40, 100)).astype(np.float32)
    if kind == "sparse":
        return np.where(random.random(dense.shape) < 0.05, dense, 0).astype(np.float32)
    if kind == "shared":
        return random.choice(dense.ravel()[:16], (40, 100))
    if kind == "int8":
        return (dense * 20).astype(np.int8)
    return np.zeros_like(dense) if kind == "zeros" else dense


KINDS = ("dense", "sparse", "shared", "int8", "zeros")


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_comes_back_byte_for_byte(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", first=weights(kind), second=weights("dense"), third=weights(kind))
    assert unpack(pack(path)) == path.read_bytes()


@settings(deadline=None, max_examples=80)
@given(
    hnp.arrays(
        np.uint32,
        st.integers(1, 400),
        elements=st.one_of(st.just(0), st.just(0), st.integers(0, 3), st.integers(0, 2**32 - 1)),
    )
)
def test_any_array_comes_back(values: np.ndarray) -> None:
    code = shortest(values)
    written = b"".join(code.write())
    assert len(written) == code.size <= values.nbytes
    assert np.array_equal(elements(code.described, Streams(written, 0)), values)


def test_long_gaps_between_weights() -> None:
    values = np.zeros(5000, np.uint32)
    values[[0, 254, 255, 256, 511, 1300, 4999]] = np.arange(1, 8)
    code = shortest(values)
    assert code.described["kind"] == "sparse"
    assert np.array_equal(elements(code.described, Streams(b"".join(code.write()), 0)), values)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_looked_at_piece_by_piece_is_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gaps reach over the ends of pieces; the codebook is that of all of them."""
    values = weights(kind).ravel().view({4: np.uint32, 1: np.uint8}[weights(kind).itemsize])
    whole = shortest(values)
    monkeypatch.setattr("workbench.coding.huffman.PIECE", 1024)
    pieces = shortest(values)
    assert (pieces.described, pieces.write()) == (whole.described, whole.write())


@pytest.mark.parametrize("kind", KINDS)
def test_the_size_is_known_without_writing(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", first=weights(kind), second=weights("dense"))
    assert packed_bytes(path) == len(pack(path))


@pytest.mark.parametrize("share", [0.0002, 0.02, 0.2, 0.9])
def test_zeros_are_left_out_where_that_is_shorter(share: float) -> None:
    """Both codes by hand: what is dense, and what is left with the entropy of where it lies."""
    random = np.random.default_rng(0)
    values = np.where(random.random(50_000) < share, 0, random.integers(1, 2**32, 50_000)).astype(np.uint32)
    left = 1 - share
    places = -(share * np.log2(share) + left * np.log2(left)) / left * left * len(values) / 8
    sparse = places + 4 * left * len(values)
    assert shortest(values).size < 1.03 * min(sparse, values.nbytes) + 300


def test_a_shared_sparse_layer_costs_what_deep_compression_says(tmp_path: Path) -> None:
    """One weight in twenty and 16 values: the entropy of gaps and indexes, and little more."""
    random = np.random.default_rng(0)
    n, density = 200_000, 0.05
    book = random.standard_normal(16).astype(np.float32)
    layer = np.where(random.random(n) < density, random.choice(book, n), 0).astype(np.float32)
    size = len(pack(write(tmp_path / "a.onnx", layer=layer)))
    gap_bits = -(density * np.log2(density) + (1 - density) * np.log2(1 - density)) / density
    expected = density * n * (gap_bits + 4) / 8
    assert expected < size < 1.06 * expected + 600


def test_the_decoder_runs_alone(tmp_path: Path) -> None:
    """From a folder without workbench, with numpy and nothing else installed beside it."""
    from workbench.coding import decode

    path = write(tmp_path / "a.onnx", first=weights("sparse"))
    (tmp_path / "a.wbz").write_bytes(pack(path))
    (tmp_path / "decode.py").write_text(Path(decode.__file__).read_text())
    assert "workbench" not in [line.split()[1] for line in Path(decode.__file__).read_text().splitlines()
                               if line.startswith(("import ", "from "))]  # fmt: skip
    command = [sys.executable, "decode.py", "a.wbz", "b.onnx"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "b.onnx").read_bytes() == path.read_bytes()
    (tmp_path / "a.wbz").write_bytes(b"WBZ1 and then nothing")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith("Not unpacked")


@pytest.mark.parametrize("damage", ["cut", "flip", "other"])
def test_a_damaged_bundle_is_told(damage: str, tmp_path: Path) -> None:
    bundle = pack(write(tmp_path / "a.onnx", first=weights("sparse")))
    broken = {"cut": bundle[:-5], "flip": bundle[:-5] + b"\x55" * 5, "other": b"PK" + bundle}[damage]
    with pytest.raises(Damaged):
        unpack(broken)
