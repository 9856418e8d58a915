"""The committed JavaScript is what its sources make, stands alone, and carries its notices."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import altair as alt

WIDGETS = Path(__file__).parents[2] / "widgets"
STATIC, SOURCES = WIDGETS / "workbench_widgets" / "static", WIDGETS / "js"


def test_bundle_is_built_from_these_sources() -> None:
    files = [p.relative_to(SOURCES).as_posix() for p in (SOURCES / "src").rglob("*") if p.is_file()]
    digest = hashlib.sha256()
    for path in sorted([*files, "package-lock.json"]):
        digest.update(f"{path}\0{(SOURCES / path).read_text(encoding='utf-8')}\0".encode())
    built = re.match(r"/\* sources (\w+)", (STATIC / "screen.js").read_text(encoding="utf-8"))
    assert built is not None
    assert built.group(1) == digest.hexdigest()[:16], "run `make bundle`"
    assert (STATIC / "screen.css").read_bytes() == (SOURCES / "src" / "screen.css").read_bytes()


def test_vega_lite_is_the_one_that_altair_writes_for() -> None:
    wanted = json.loads((SOURCES / "package.json").read_text())["dependencies"]["vega-lite"]
    assert wanted.split(".")[0] == alt.SCHEMA_VERSION.lstrip("v").split(".")[0]


def test_every_bundled_package_has_its_notice() -> None:
    notices = (STATIC / "THIRD-PARTY.txt").read_text(encoding="utf-8")
    direct = json.loads((SOURCES / "package.json").read_text())["dependencies"]
    for name, version in direct.items():
        assert f"{name} {version} (" in notices
    assert notices.count("Copyright") + notices.count("copyright") >= notices.count("-" * 80)


def test_nothing_is_fetched_from_outside() -> None:
    """The dashboard's page links to nothing but the server that serves it."""
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert page.count("screen/") == 4
    assert "//" not in page
    for style in ("screen.css", "page.css"):
        assert not re.search(r"@import|url\(\s*['\"]?https?:", (STATIC / style).read_text())
    assert set(re.findall(r"[\w:]+//[\w.-]+", (STATIC / "page.js").read_text())) <= {"https://", "http://"}


def test_the_page_s_own_files_are_built_from_these_sources() -> None:
    """All three name the version of the module, which a browser keeps for good."""
    version = re.match(r"/\* sources (\w+)", (STATIC / "screen.js").read_text(encoding="utf-8"))
    assert version is not None
    assert (STATIC / "page.js").read_text().startswith(f"/* sources {version.group(1)} */")
    for name in ("page.css", "index.html"):
        assert (STATIC / name).read_bytes() == (SOURCES / "src" / "page" / name).read_bytes()


def test_no_element_has_an_id_that_a_second_screen_on_the_page_would_share() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (WIDGETS / "js" / "src").rglob("*.js")]
    fixed = [found for text in sources for found in re.findall(r'\b(?:id|for)=(?:"[^"$]+"|\w+)', text)]
    assert fixed == []
