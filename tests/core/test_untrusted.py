"""Bytes of strangers: what they claim is compared with what they are, before memory is taken for it."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from workbench.errors import BadFile, BadValue, UnknownName, shown
from workbench.recipe import Recipe
from workbench.untrusted import arrays, check_apart, parse_json, parse_yaml, read_npz, read_tensors
from workbench.untrusted.apart import Room

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(alphabet="abc: -#'\"\n", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet="abc", max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(plain)
def test_what_others_write_is_read(value: Any) -> None:
    import yaml

    assert parse_json(json.dumps(value), "It") == value
    assert parse_yaml(yaml.safe_dump(value), "It") == value


def aliases(levels: int, wide: int) -> str:
    lines = ["l0: &l0 [" + ",".join("x" * wide) + "]"]
    lines += [f"l{n}: &l{n} [{','.join([f'*l{n - 1}'] * wide)}]" for n in range(1, levels)]
    return "\n".join(lines)


def test_references_count_as_what_they_stand_for() -> None:
    assert parse_yaml("a: &a [1, 2]\nb: *a", "It") == {"a": [1, 2], "b": [1, 2]}
    tracemalloc.start()
    with pytest.raises(BadFile, match="as often as it is referred to"):
        parse_yaml(aliases(12, 9), "It")  # nine to the twelfth
    assert tracemalloc.get_traced_memory()[1] < 5 * 10**6
    tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]", "a: &a {b: *a}", "<<: &a [{b: *a}]", "[" * 200, "- " * 200 + "x", "a: 1" + "0" * 60,
        "0x" + "f" * 90, "!!python/object/apply:os.getpid []", "!!set {a}", "!!binary YQ==", "!!int ''",
        "a: 2001-99-99\n? [b]", "\0",
    ],
)  # fmt: skip
def test_yaml_that_is_refused(text: str) -> None:
    with pytest.raises(BadFile):
        parse_yaml(text, "It")


def test_a_date_is_text_as_it_is_in_json() -> None:
    assert parse_yaml("2001-99-99", "It") == "2001-99-99"


@pytest.mark.parametrize("text", ["[" * 10**5, "9" * 5000, "[" * 40 + "]" * 40, "{", "", '"\\ud800', " " * 200_000])
def test_json_that_is_refused(text: str) -> None:
    with pytest.raises(BadFile):
        parse_json(text, "It")


@pytest.mark.parametrize(
    "steps", [[{"step": ["SVD"]}], [{"step": {}}], [{"step": None}], [3], [{"step": "SVD"}] * 1000]
)
def test_a_recipe_of_something_else_is_refused(steps: list[Any]) -> None:
    with pytest.raises((BadValue, UnknownName)):
        Recipe.from_json(json.dumps(steps))


def test_a_value_is_shown_in_a_few_words() -> None:
    assert shown("SVD") == "'SVD'"
    assert len(shown({"a": ["x" * 10**6] * 10**4})) < 1000
    with pytest.raises(UnknownName) as refused:
        Recipe.from_json(json.dumps([{"step": "x" * 50_000}]))
    assert len(str(refused.value)) < 1500


# --- arrays


def test_arrays_come_back_in_the_order_of_this_machine(tmp_path: Path) -> None:
    given_ = {
        "big": np.arange(6, dtype=">i4").reshape(2, 3), "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "text": np.array(["a", "bc"]), "none": np.zeros((0, 28, 28), np.uint8), "one": np.array(2.5),
    }  # fmt: skip
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **given_)
        found = read_npz(tmp_path / "a.npz")
        assert found.keys() == given_.keys()
        for name, array in found.items():
            assert np.array_equal(array, given_[name])
            assert array.dtype.isnative and array.flags.writeable


def claiming(header: str, content: bytes = b"", **how: Any) -> bytes:
    """A zip file of one array whose header says anything."""
    text = header.encode().ljust(117) + b"\n"
    with zipfile.ZipFile(stream := io.BytesIO(), "w", **how) as file:
        file.writestr("test_images.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content)
    return stream.getvalue()


def header(shape: str, kind: str = "|u1") -> str:
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (claiming(header("(1000000000000,)"), b"xx"), "its shape is"),
        (claiming(header("(-2,)"), b"xx"), "its shape is"),
        (claiming(header("(0, 10000000000000)")), "its shape is"),
        (claiming(header("(9,)", "<U0")), "its shape is"),
        (claiming(header("(1,)", "|O"), b"\x80\x04N."), "Objects are not read"),
        (claiming(header("(1,)", "<c8"), bytes(8)), "not numbers"),
        (claiming("__import__('os').getpid()", b""), "not a readable"),
        (claiming(header("(2,)"), b"xx", compression=zipfile.ZIP_LZMA), "numpy does not write"),
        (b"PK\5\6" + bytes(8) + b"\xff" * 4 + bytes(6), "too many arrays"),
        (b"\x93NUMPY" + bytes(100), "not a readable"),
    ],
)
def test_claims_that_are_not_so(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(BadFile, match=says):
        read_npz(tmp_path / "a.npz")


def test_arrays_that_unfold_beyond_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "LEAST", 10**5)
    np.savez_compressed(tmp_path / "bomb.npz", test_images=np.zeros((300, 28, 28), np.uint8))
    with pytest.raises(BadFile, match="unfolds"):
        read_npz(tmp_path / "bomb.npz")
    np.savez(tmp_path / "plain.npz", test_images=np.zeros((300, 28, 28), np.uint8))
    assert read_npz(tmp_path / "plain.npz")["test_images"].shape == (300, 28, 28)


# --- tensors


def packed(head: dict[str, Any], room: int) -> bytes:
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + bytes(room)


def said(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"a": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


def test_tensors_come_back(tmp_path: Path) -> None:
    state = {"a": torch.randn(2, 3), "b": torch.ones(4, dtype=torch.int64), "h": torch.ones(2, dtype=torch.bfloat16)}
    save_file(state, tmp_path / "a.safetensors", {"source": "x"})
    found, about = read_tensors(tmp_path / "a.safetensors")
    assert about == {"source": "x"}
    assert all(torch.equal(found[name], one.float() if name == "h" else one) for name, one in state.items())


@pytest.mark.parametrize(
    "content",
    [
        packed(said(shape=[2**50]), 8), packed(said(shape=[2**20, 2**20]), 8), packed(said("F4", [16]), 8),
        packed(said(shape=[0, 2**50], offsets=[0, 0]), 0), packed(said(shape=[True, 2]), 8), packed(said(), 4),
        packed(said(), 12), packed({"__metadata__": {"a": 1}}, 0), packed({"a": []}, 0), packed({"a": {}}, 0),
        struct.pack("<Q", 2**63) + b"{}", b"", b"1234567", struct.pack("<Q", 5) + b"[1,2]",
        struct.pack("<Q", 2) + b"{}" + b"x",
        struct.pack("<Q", 10**5) + b"[" * 10**5,
    ],
)  # fmt: skip
def test_tensors_that_are_not_there(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(BadFile):
        read_tensors(tmp_path / "a.safetensors")


# --- a process of its own


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The name of a function of `path` that does this."""

    def made(body: str) -> str:
        (tmp_path / "strange_reader.py").write_text(f"def read(path):\n    {body}\n")
        return "strange_reader:read"

    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return made


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("from workbench.errors import BadFile; raise BadFile('no images')", "^no images$"),
        ("bytes(10**9)", "within 300 MB"),
        ("while True: pass", "more than 2 s"),
        ("import os; os.abort()", "ended with code"),
        ("print('read'); raise KeyError(path)", "ended with code"),
        ("import sys; sys.exit(0)", "ended with code"),
    ],
)
def test_what_a_reader_apart_can_do(reader: Callable[[str], str], tmp_path: Path, body: str, says: str) -> None:
    with pytest.raises(BadFile, match=says):
        check_apart(reader(body), tmp_path / "file", Room(memory_mb=300, seconds=2.0 if "while" in body else 60.0))


def test_a_reader_apart_that_reads(reader: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    check_apart(reader("assert path.read_text() == 'x'; print('a word on the way')"), tmp_path / "file")
