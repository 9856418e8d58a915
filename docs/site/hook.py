"""What MkDocs asks for while it builds: pages from elsewhere, generated parts, links and formulas."""

from __future__ import annotations

from typing import Any

from generated import filled
from mathml import with_mathml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pages import ELSEWHERE, relinked, source_of

import notebooks
import workbench


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The version beside the name."""
    config.site_name = f"workbench {workbench.__version__}"
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages that are made of files elsewhere, and the pictures in notebooks."""
    for page in ELSEWHERE:
        source = source_of(page)
        text, pictures = notebooks.read(source, page) if source.suffix == ".ipynb" else (source.read_text("utf-8"), {})
        files.append(File.generated(config, page, content=text))
        for name, content in pictures.items():
            files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Generated parts in the place of their markers; links from page to page."""
    return filled(relinked(markdown, page.file.src_uri), page.file.src_uri)


def on_page_content(content: str, **_: Any) -> str:
    """Formulas drawn."""
    return with_mathml(content)
