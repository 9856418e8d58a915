"""Damaged files through every parser of strangers' bytes: what is raised, how long it takes, how much memory.

    python benchmarks/fuzz.py [--files 20000] [--seed 0] [--only npz,yaml]

Files are mutated from sound ones: bits, bytes, blocks, lengths, numbers and words are changed, repeated, cut out and
put elsewhere; some are then packed again so that sums are right and the damage reaches what lies inside. Each parser
runs in a process of its own, watched from outside. A raw exception is whatever is not a `WorkbenchError`.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import random
import resource
import sqlite3
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

SLOW_SECONDS, LARGE_MB, GIVEN_UP_SECONDS = 5.0, 1000, 60.0
#: What parsers have stumbled over, put in the place of numbers and words.
NUMBERS = [
    b"0", b"-1", b"1e999", b"NaN", b"9" * 30, b"9" * 5000, b"2147483648", b"1.5", b"null", b"true", b'"x"', b"[]",
    b"{}",
]  # fmt: skip
WORDS = [
    b"\0", b"\xff\xfe", b"[" * 3000, b"{" * 50, b"&a [*a]", b"!!python/object:os.system", b"!!int x", b"2001-99-99",
    b"<<: *a", b"device", b"cuda", b"__class__", b"../../etc/passwd", b"\xed\xa0\x80", "é".encode() * 100,
]  # fmt: skip


def mutate(sound: bytes, draw: random.Random) -> bytes:
    """Some bytes that are like these."""
    data = bytearray(sound)
    for _ in range(draw.choice([1, 1, 1, 2, 4, 16])):
        draw.choice([_bit, _byte, _cut, _repeat, _insert, _length, _number, _truncate, _swap])(data, draw)
    return bytes(data)


def _place(data: bytearray, draw: random.Random) -> int:
    return draw.randrange(len(data)) if data else 0


def _bit(data: bytearray, draw: random.Random) -> None:
    if data:
        data[_place(data, draw)] ^= 1 << draw.randrange(8)


def _byte(data: bytearray, draw: random.Random) -> None:
    if data:
        data[_place(data, draw)] = draw.choice([0, 1, 127, 128, 255, draw.randrange(256)])


def _cut(data: bytearray, draw: random.Random) -> None:
    at = _place(data, draw)
    del data[at : at + draw.choice([1, 4, 64, 1000])]


def _repeat(data: bytearray, draw: random.Random) -> None:
    at = _place(data, draw)
    data[at:at] = data[at : at + draw.choice([1, 8, 200])] * draw.choice([1, 3, 100])


def _insert(data: bytearray, draw: random.Random) -> None:
    at = _place(data, draw)
    data[at:at] = draw.choice(WORDS + NUMBERS)


def _length(data: bytearray, draw: random.Random) -> None:
    """Another length where one may stand."""
    at, form = _place(data, draw), draw.choice(["<I", "<Q", "<H", ">I"])
    most = 2 ** (8 * struct.calcsize(form)) - 1
    size = draw.choice([0, 1, most, most // 2 + 1, len(data) & most, 10**4])
    data[at : at + struct.calcsize(form)] = struct.pack(form, size)


def _number(data: bytearray, draw: random.Random) -> None:
    """Another number or word where one stands in a text."""
    at = _place(data, draw)
    while at < len(data) and not chr(data[at]).isalnum():
        at += 1
    end = at
    while end < len(data) and (chr(data[end]).isalnum() or data[end] in b"._-"):
        end += 1
    data[at:end] = draw.choice(NUMBERS + WORDS)


def _truncate(data: bytearray, draw: random.Random) -> None:
    del data[_place(data, draw) :]


def _swap(data: bytearray, draw: random.Random) -> None:
    at, other, size = _place(data, draw), _place(data, draw), draw.choice([1, 8, 100])
    data[at : at + size], data[other : other + size] = data[other : other + size], data[at : at + size]


#: Values that take the place of others in a text which stays whole.
VALUES: list[Any] = [
    None, True, -1, 0, 3, 10**18, 1e308, float("inf"), float("nan"), 0.5, "", "*", "0.5", "energy:0.9", "energy:x",
    "evbmf", "macs:-1", "x" * 500, "\ud800", [], {}, [[[]]], {"a": 1}, ["*", "!a"], [0.5, 0.5], [1, 2, 3], {"*": 0.5},
    {"a": {"b": []}},
]  # fmt: skip


#: What says how the rest is to be read: another part of the damage is to the bytes themselves.
TAGS = ("step", "type")


def replaced(value: Any, draw: random.Random) -> Any:
    """The same nested values with some of them put in each other's place, or hostile ones in theirs."""
    if draw.random() < (0.02 if isinstance(value, (dict, list)) else 0.25):
        return draw.choice(VALUES)
    if isinstance(value, dict):
        names = {key: key if draw.random() < 0.95 else draw.choice(["x", ""]) for key in value}
        return {names[key]: one if key in TAGS else replaced(one, draw) for key, one in value.items()}
    if isinstance(value, list):
        return [replaced(one, draw) for one in value] * draw.choice([1, 1, 1, 2])
    return value


def _inside_text(sound: bytes, draw: random.Random) -> bytes:
    import yaml

    values = replaced(yaml.safe_load(sound), draw)
    return json.dumps(values).encode() if sound[:1] in b"[{" else yaml.safe_dump(values, allow_unicode=False).encode()


def _inside_row(sound: bytes, draw: random.Random) -> bytes:
    lines = sound.decode().split("\n")
    at = draw.randrange(len(lines))
    try:
        lines[at] = json.dumps(replaced(json.loads(lines[at]), draw))
    except ValueError:
        lines[at] = draw.choice(["", "x", "../a", "\0", "null"])
    return "\n".join(lines).encode("utf-8", "replace")


@dataclass(frozen=True)
class Parser:
    """How sound files of a kind are made, and what reads one; `inside` mutates what the container holds instead."""

    suffix: str
    sound: Callable[[Path], list[bytes]]
    read: Callable[[Path], object]
    inside: Callable[[bytes, random.Random], bytes] | None = None


def _recipes() -> list[list[dict[str, Any]]]:
    import workbench as wb
    from workbench.recipe import Recipe
    from workbench.recipe_file import CATALOGUE
    from workbench.step import REGISTRY

    shipped = [Recipe.load(path).to_list() for path in sorted(CATALOGUE.glob("*.yaml"))]
    every = [[{"step": name, **_full(kind)}] for name, kind in REGISTRY.items()]
    return [*shipped, *every, (wb.Tucker(rank={"*": 0.5}) | wb.Quantize("int8")).to_list()]


def _full(kind: Any) -> dict[str, Any]:
    """Every setting of a step, at its default, so that each is there to be damaged."""
    return {one.name: one.default for one in kind.settings() if isinstance(one.default, (bool, int, float, str))}


def _yaml_files(_: Path) -> list[bytes]:
    import yaml

    return [yaml.safe_dump({"recipe": json.loads(json.dumps(one))}).encode() for one in _recipes()]


def _json_files(_: Path) -> list[bytes]:
    return [json.dumps(one).encode() for one in _recipes()]


def _read_recipe(path: Path) -> object:
    """A recipe, and what a page does with it at once: its name, its code, its plan."""
    from workbench.recipe import Recipe

    recipe = Recipe.load(path)
    return recipe.name, recipe.code(), recipe.key, recipe.plan(_model())


_models: list[Any] = []


def _model() -> Any:
    if not _models:
        import workbench as wb

        _models.append(wb.load("fashion-mobilenet"))
    return _models[0]


def _npz_files(_: Path) -> list[bytes]:
    import numpy as np

    grey, colour = np.zeros((12, 28, 28), np.uint8), np.ones((12, 8, 8, 3), np.uint8)
    labels, names = np.arange(12) % 3, np.array(["a", "b", "c"])
    some = [
        {"test_images": grey, "test_labels": labels, "classes": names},
        {"train_images": colour, "train_labels": labels, "test_images": colour, "mean": np.ones(3), "std": np.ones(3)},
        {"test_images": np.ones((12, 1, 4, 4), np.float32), "test_labels": labels.astype(np.float64)},
    ]
    found = []
    for save in (np.savez, np.savez_compressed):
        for arrays in some:
            save(stream := io.BytesIO(), **arrays)
            found.append(stream.getvalue())
    return found


def _inside_npz(sound: bytes, draw: random.Random) -> bytes:
    """With the damage in an array's own bytes, and the zip file's sums right."""
    with zipfile.ZipFile(io.BytesIO(sound)) as file:
        parts = {one: file.read(one) for one in file.namelist()}
    hit = draw.choice(list(parts))
    head = parts[hit][:128]
    parts[hit] = mutate(head, draw) + parts[hit][128:] if draw.random() < 0.8 else mutate(parts[hit], draw)
    with zipfile.ZipFile(stream := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return stream.getvalue()


def _read_data(path: Path) -> object:
    import workbench as wb

    data = wb.data(path)
    return [(len(data[name]), *data[name].shape) for name in data.splits], data.classes


def _model_files(folder: Path) -> list[bytes]:
    import torch

    import workbench as wb
    from workbench.building import build
    from workbench.models.structure import save_variant

    model, found = _model(), []
    for number, recipe in enumerate([wb.Recipe(), wb.SVD(rank=0.5).recipe(), wb.Resolution(size=14).recipe()]):
        module = build.rewrite(model, recipe, wb.data({"test": torch.zeros(4, 1, 28, 28)}), recalibrate=False)
        save_variant(module, model, file := folder / f"sound{number}.safetensors", recipe=recipe.to_json())
        found.append(file.read_bytes())
    return found


def _inside_model(sound: bytes, draw: random.Random) -> bytes:
    """With the damage in the header or in the description of the network, and lengths that are right."""
    size = int.from_bytes(sound[:8], "little")
    head = json.loads(sound[8 : 8 + size])
    about = head["__metadata__"]
    if draw.random() < 0.5:
        about["structure"] = json.dumps(replaced(json.loads(about["structure"]), draw))
        text = json.dumps(head).encode()
    elif draw.random() < 0.5:
        key = draw.choice(list(about))
        about[key] = mutate(about[key].encode(), draw).decode("utf-8", "replace")
        text = json.dumps(head).encode()
    else:
        text = mutate(json.dumps(head).encode(), draw)
    return struct.pack("<Q", len(text)) + text + sound[8 + size :]


def _read_model(path: Path) -> object:
    from workbench_widgets.uploads import read

    return read(path)


def _bundle_files(folder: Path) -> list[bytes]:
    import numpy as np
    import onnx

    from workbench.coding import pack

    draw, found = np.random.default_rng(0), []
    for number, most in enumerate((2, 200)):
        values = draw.integers(0, most, 4000).astype(np.float32) * (draw.random(4000) < 0.3 if number else 1)
        tensor = onnx.numpy_helper.from_array(values.astype(np.float32), "w")
        node = onnx.helper.make_node("Identity", ["w"], ["y"])
        out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [4000])
        onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [out], [tensor])), folder / "x.onnx")
        found.append(pack(folder / "x.onnx"))
    return found


def _inside_bundle(sound: bytes, draw: random.Random) -> bytes:
    import zlib

    size = int.from_bytes(sound[4:8], "little")
    head = zlib.compress(mutate(zlib.decompress(sound[8 : 8 + size]), draw))
    return sound[:4] + len(head).to_bytes(4, "little") + head + sound[8 + size :]


def _read_bundle(path: Path) -> object:
    from workbench.coding.decode import Damaged, unpack
    from workbench.errors import BadFile

    try:
        return unpack(path.read_bytes())
    except Damaged as error:  # what this module, which is handed out by itself, raises in the place of ours
        raise BadFile(str(error)) from error


def _manifest_files(_: Path) -> list[bytes]:
    from workbench.estimate import Estimate
    from workbench.manifest import Manifest

    estimates = {"accuracy": Estimate(0.9, 0.88, 0.92, 100), "macs": Estimate(5, 5, 5)}
    one = Manifest(
        Path(), 1, "onnx", {"model.onnx": "0" * 64}, "net", [{"step": "SVD", "rank": 0.5}], estimates,
        {"accuracy": 0.9}, ("a note",), {"torch": "2.13.0"}, "2026-01-02T03:04:05+00:00",
    )  # fmt: skip
    return [one.to_json().encode()]


def _read_manifest(path: Path) -> object:
    from workbench.manifest import read_manifest

    return read_manifest(path)


def _study(folder: Path) -> Any:
    import torch

    import workbench as wb
    from workbench.study import Study

    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    with torch.no_grad():
        net[1].weight.fill_(0.5), net[1].bias.zero_()
    data = wb.data({"test": (torch.zeros(8, 1, 4, 4), torch.zeros(8, dtype=torch.long))})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a row that is left out is told of
        return Study(wb.load(net, example=torch.zeros(1, 1, 4, 4)), data, folder)


def _row_files(folder: Path) -> list[bytes]:
    """The texts of a study's row, which `_read_row` puts into a study."""
    estimates = {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 8, "unit": ""}}
    row = ["0123456789ab", "2026-01-02T03:04:05+00:00", '[{"step": "SVD", "rank": 0.5}]', json.dumps(estimates),
           '["a note"]', "a.onnx", "b.safetensors", '{"verdict": "smaller", "machine": "here"}']  # fmt: skip
    return ["\n".join(row).encode()]


def _read_row(path: Path) -> object:
    folder = path.parent / "study"
    if not (folder / "study.sqlite").exists():
        _study(folder)
    texts = path.read_bytes().decode("utf-8", "replace").split("\n")
    row = (texts + [""] * 8)[:8]
    with sqlite3.connect(folder / "study.sqlite") as database:
        database.execute("DELETE FROM variants")
        names = "id, created, recipe, estimates, notes, onnx, state, metadata"
        database.execute(f"INSERT INTO variants ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    database.close()
    return _study(folder).frame()


PARSERS = {
    "recipe.yaml": Parser(".yaml", _yaml_files, _read_recipe, _inside_text),
    "recipe.json": Parser(".json", _json_files, _read_recipe, _inside_text),
    "npz": Parser(".npz", _npz_files, _read_data, _inside_npz),
    "safetensors": Parser(".safetensors", _model_files, _read_model, _inside_model),
    "manifest": Parser(".json", _manifest_files, _read_manifest, _inside_text),
    "study row": Parser(".row", _row_files, _read_row, _inside_row),
    "bundle": Parser(".wbz", _bundle_files, _read_bundle, _inside_bundle),
}


@dataclass
class Found:
    """What came of the files of one parser."""

    sound: int = 0
    files: int = 0
    read: int = 0
    refused: int = 0
    raw: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    slow: int = 0
    peak_mb: float = 0.0
    died: int = 0


def damaged(parser: Parser, sound: list[bytes], seed: int) -> bytes:
    """The file of a seed."""
    draw = random.Random(seed)
    one = draw.choice(sound)
    return parser.inside(one, draw) if parser.inside and draw.random() < 0.5 else mutate(one, draw)


def try_file(parser: Parser, path: Path) -> tuple[str, float]:
    """What came of reading a file ("read", "refused", or the exception that is not ours), and seconds."""
    from workbench.errors import WorkbenchError

    started = time.perf_counter()
    try:
        parser.read(path)
        said = "read"
    except WorkbenchError as error:
        said = "refused" if len(str(error)) < 5000 else f"a message of {len(str(error))} characters"
    except Exception as error:  # noqa: BLE001  # which is what is counted
        frame = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {str(error)[:80]} ({Path(frame.filename).name}:{frame.lineno})"
    return said, time.perf_counter() - started


def _work(name: str, seeds: range, pipe: Connection) -> None:
    """In a process of its own: read the files of these seeds, and tell of each before and after."""
    parser = PARSERS[name]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.chdir(folder)
        sound = parser.sound(folder)
        for number, one in enumerate(sound):  # a harness that refuses sound files would prove nothing
            (path := folder / f"file{parser.suffix}").write_bytes(one)
            said, _ = try_file(parser, path)
            pipe.send(("sound", number, said, 0.0, 0.0))
        for seed in seeds:
            path.write_bytes(damaged(parser, sound, seed))
            pipe.send(("begin", seed, "", 0.0, 0.0))
            said, seconds = try_file(parser, path)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
            pipe.send(("end", seed, said, seconds, peak))


def fuzz(name: str, seeds: range) -> Found:
    """Read the damaged files of these seeds, in a process that is begun again where it ends or hangs."""
    found, next_seed = Found(), seeds.start
    while next_seed < seeds.stop:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        worker = multiprocessing.get_context("spawn").Process(
            target=_work, args=(name, range(next_seed, seeds.stop), theirs)
        )
        worker.start()
        theirs.close()
        try:
            while ours.poll(GIVEN_UP_SECONDS * (1 if found.files else 5)):
                what, seed, said, seconds, peak = ours.recv()
                next_seed = seed + 1 if what != "sound" else next_seed
                _count(found, what, said, seconds, peak)
        except EOFError:
            pass
        worker.join(20)
        if next_seed < seeds.stop or worker.exitcode != 0:
            found.died += 1
            print(f"{name}: the process ended or hung at the file of seed {next_seed - 1}", file=sys.stderr)
            if not found.files:
                break
        worker.kill()
    if not found.sound:
        raise SystemExit(f"{name}: not one sound file was read; the harness does not work")
    return found


def _count(found: Found, what: str, said: str, seconds: float, peak: float) -> None:
    if what == "sound":
        found.sound += said == "read"  # a recipe that has nothing to do on a network is refused
    if what != "end":
        return
    found.files += 1
    found.read += said == "read"
    found.refused += said == "refused"
    if said not in {"read", "refused"}:
        found.raw[said] += 1
    found.slowest, found.peak_mb = max(found.slowest, seconds), max(found.peak_mb, peak)
    found.slow += seconds > SLOW_SECONDS


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--files", type=int, default=20000)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--only", default=",".join(PARSERS))
    told = arguments.parse_args()
    names = told.only.split(",")
    each = -(-told.files // len(names))
    print("| parser | files | read | refused | raw exceptions | over 5 s | slowest, s | peak, MB | ended |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    total, raw = 0, Counter[str]()
    for name in names:
        one = fuzz(name, range(told.seed, told.seed + each))
        row = (name, one.files, one.read, one.refused, one.raw.total(), one.slow, f"{one.slowest:.2f}")
        print(f"| {' | '.join(map(str, row))} | {one.peak_mb:,.0f} | {one.died} |", flush=True)
        total += one.files
        raw += Counter({f"{name}: {said}": count for said, count in one.raw.items()})
    print(f"\n{total:,} files, {raw.total()} raw exceptions")
    for said, count in raw.most_common(30):
        print(f"{count:6d} {said}")


if __name__ == "__main__":
    main()
