"""A few of the damaged files of benchmarks/fuzz.py, in every run: nothing but our own errors comes of them."""

from __future__ import annotations

from pathlib import Path

import fuzz
import pytest

FILES = 120


@pytest.mark.slow
@pytest.mark.parametrize("name", fuzz.PARSERS)
def test_damaged_files_are_refused_with_a_sentence(name: str, tmp_path: Path) -> None:
    parser = fuzz.PARSERS[name]
    sound = parser.sound(tmp_path)
    path = tmp_path / f"file{parser.suffix}"
    seen = {}
    for seed in range(FILES):
        path.write_bytes(fuzz.damaged(parser, sound, seed))
        seen[seed] = fuzz.try_file(parser, path)[0]
    assert "refused" in seen.values() or name == "study row"  # the damage reached the parser; a row is left out
    assert not {seed: said for seed, said in seen.items() if said not in {"read", "refused"}}
