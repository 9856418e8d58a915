"""Notebooks as pages: their text, code, and what outputs they hold, pictures as files."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import nbformat
from nbconvert import MarkdownExporter
from traitlets.config import Config

#: What is shown of an output, the best first. HTML is left out: it fetches scripts.
SHOWN = ["image/svg+xml", "image/png", "text/markdown", "text/plain"]

#: The end of a paragraph that a list follows at once, which notebooks take for a list and Python-Markdown does not.
BEFORE_LIST = re.compile(r"^(?![-*>|#\s]|\d+\.)(.+)\n(?=(?:[-*]|\d+\.) )", re.MULTILINE)


def read(source: Path, page: str) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its pictures by their paths under the pages."""
    exporter = MarkdownExporter(config=Config({"NbConvertBase": {"display_data_priority": SHOWN}}))
    names = {"output_files_dir": f"{source.stem}-files", "unique_key": "output"}
    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = BEFORE_LIST.sub(r"\1\n\n", cell.source)
    text, resources = exporter.from_notebook_node(notebook, resources=names)
    folder = PurePosixPath(page).parent
    return text, {str(folder / name): content for name, content in resources.get("outputs", {}).items()}
