"""Charts are imported without the grammar of web addresses, and the check that it is for still works."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
import workbench.charts
assert "lark" not in sys.modules and "rfc3987_syntax" not in sys.modules
import jsonschema
check = jsonschema.FormatChecker(["iri"])
check.check("https://example.org/naïve", "iri")
try:
    check.check("not an address", "iri")
except jsonschema.FormatError:
    pass
else:
    sys.exit("a wrong address passed")
assert "lark" in sys.modules
"""


def test_the_grammar_of_addresses_waits_until_it_is_used() -> None:
    pytest.importorskip("rfc3987_syntax")
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
