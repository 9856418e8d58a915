"""Writes what the words of the screen mean as a module of the page: the package's glossary, by the word in lower case.

python widgets/js/terms.py > widgets/js/src/terms.js
"""

from __future__ import annotations

import json

from workbench import glossary
from workbench.charts import COLUMNS, column
from workbench.measure.evaluation import CHANGE
from workbench.tasks import METRICS

HEAD = ("// Written by terms.py from the package's glossary.", "/** @type {Record<string, string>} */")


def shown() -> dict[str, str]:
    """Every word with its explanation; the tasks' figures also as changes, and on the validation split."""
    judged = [f"{before}{name}{after}" for name in METRICS for before in ("", "validation_") for after in ("", CHANGE)]
    labels = [*glossary.words(), *(column(name).label for name in (*COLUMNS, *judged))]
    return {label.lower(): glossary.about(label) for label in labels}


def written() -> str:
    """The module's text."""
    terms = json.dumps(shown(), ensure_ascii=False, indent=2, sort_keys=True)
    return "\n".join([*HEAD, f"export const TERMS = {terms};", ""])


if __name__ == "__main__":
    print(written(), end="")
