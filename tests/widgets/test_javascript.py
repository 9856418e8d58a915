"""The screen's JavaScript: its style, its types, its own tests, and that the committed files are what it makes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[2] / "widgets" / "workbench_widgets" / "static"
SOURCES = Path(__file__).parents[2] / "widgets" / "js"
SECONDS = 240


@pytest.fixture
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("no Node.js is installed: install one (Debian: apt install nodejs npm) to check the JavaScript")
    return found


@pytest.fixture
def packages(node: str) -> Path:
    """Where the installed tools are, as `make javascript` and `make bundle` install them."""
    installed = SOURCES / "node_modules" / ".package-lock.json"
    if not installed.exists():
        pytest.skip("the packages of widgets/js are not installed: run npm ci there")
    return installed.parent


def succeeds(*command: object) -> None:
    done = subprocess.run(
        [str(part) for part in command], cwd=SOURCES, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_own_tests_pass(node: str) -> None:
    succeeds(node, "--test", *sorted((SOURCES / "tests").glob("*.test.js")))


def test_its_types_are_those_of_the_views(node: str, packages: Path) -> None:
    succeeds(node, packages / "typescript" / "bin" / "tsc", "-p", ".")


@pytest.mark.parametrize(("old", "new", "said"), [
    ("view.text", "view.txt", "'txt' does not exist"),  # a field that the view has not
    ('send("dismiss")', 'send("dismis")', "'\"dismis\"' is not assignable"),  # an action that nobody does
    ('send("dismiss")', 'send("select", { name: "" })', "'name' does not exist"),  # one with another detail
    ('send("dismiss")', 'send("select")', "Expected 2 arguments"),  # one without it
])  # fmt: skip
def test_what_does_not_fit_between_python_and_the_page_is_found(
    node: str, packages: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    shutil.copytree(SOURCES / "src", tmp_path / "src")
    shutil.copy(SOURCES / "tsconfig.json", tmp_path)
    (tmp_path / "node_modules").symlink_to(packages)
    changed = tmp_path / "src" / "panels" / "status.js"
    text = changed.read_text(encoding="utf-8")
    assert old in text
    changed.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(AssertionError, match=rf"status\.js.*{said}"):
        succeeds(node, packages / "typescript" / "bin" / "tsc", "-p", tmp_path)


def test_its_style_is_clean(node: str, packages: Path) -> None:
    succeeds(node, packages / "@biomejs" / "biome" / "bin" / "biome", "lint", "--error-on-warnings")


def test_the_committed_files_are_what_the_sources_make(node: str, packages: Path, tmp_path: Path) -> None:
    succeeds(node, "build.mjs", tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {"screen.js", "page.js", "THIRD-PARTY.txt"} <= made.keys()
    differ = [name for name, content in made.items() if (STATIC / name).read_bytes() != content]
    assert not differ, "run `make bundle`"
