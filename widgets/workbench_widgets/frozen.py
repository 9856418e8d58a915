"""A study as it is now in one HTML file, to be read anywhere: no server, no kernel, nothing fetched."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from html import escape
from typing import Any

import pandas as pd

import workbench as wb
from workbench import charts
from workbench_widgets import models, results, rows, variant
from workbench_widgets.seam.chart_view import TableView
from workbench_widgets.seam.variant_view import Figure, VariantView
from workbench_widgets.store import State

STYLE = """
:root { color-scheme: light dark; --line: #8886; --muted: color-mix(in srgb, CanvasText 66%, Canvas); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 0 auto; padding: 24px 16px; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 32px 0 8px; } h3 { font-size: 16px; margin: 0; }
p { margin: 6px 0; } small, .muted { color: var(--muted); } .scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { text-align: right; padding: 6px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { text-align: left; } td small, th small { display: block; font-weight: 400; }
figure { margin: 16px 0; background: #fff; color: #111; border-radius: 8px; padding: 8px; }
figure svg { max-width: 100%; height: auto; display: block; }
article { border-top: 1px solid var(--line); padding: 16px 0; } article p { max-width: 80ch; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 10px 16px; margin: 12px 0; }
dt { color: var(--muted); font-size: 13px; } dd { margin: 0; font-weight: 600; } dd small { display: block; }
pre { background: #8881; padding: 10px 12px; border-radius: 6px; overflow-x: auto; font-size: 13px; }
"""
WHOLE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head>
<body><main>
{body}
</main></body></html>
"""
#: What a picture of the chart needs.
PLAIN = "The chart is left out: pip install 'nn-workbench[lab]' on the machine that freezes the study draws it."


def table(state: State) -> pd.DataFrame:
    """What is shown, every figure with its interval: `Study.frame()` in its own units, and what was measured elsewhere.

    Without samples, which paired comparison alone reads.
    """
    frame = rows.everything(state)
    return pd.DataFrame({name: frame[name].to_list() for name in frame if name != "feasible"})


def page(state: State) -> str:
    """The whole file: what was measured on what, the trade-off, the table, and every variant with its recipe."""
    study, frame = state.study, rows.everything(state)
    assert study is not None  # whoever asks for it sees one
    about = models.models(state)
    title = f"{study.model.name} on {study.data.name}"
    said = charts.summary(frame, *_axes(state))
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="muted">{escape(_when(study.find(wb.Recipe())))}</p>',
        f"<p>{escape(about['about'])}</p>",
        f"<p>{escape(about['data']['sentence'] if about['data'] else '')}</p>",
        "<h2>Trade-off</h2>",
        _figure(state, frame, said),
        f'<p class="muted">{escape(said)}</p>',
        "<h2>Variants</h2>",
        _table(results.table(state)),
        "<h2>Each variant</h2>",
        *(_variant(state, str(one)) for one in frame["id"]),
    ]
    return WHOLE.format(title=escape(title), style=STYLE, body="\n".join(parts))


def _when(original: Any) -> str:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    where = f", measured on {original.machine}" if original is not None and original.machine else ""
    return f"Frozen by workbench {wb.__version__} on {now}{where}. Figures are those of the exported files."


def _axes(state: State) -> tuple[str, str]:
    return state.x, state.y


def _figure(state: State, frame: pd.DataFrame, said: str) -> str:
    try:
        import vl_convert  # noqa: F401  # an optional extra, which Altair draws with
    except ImportError:
        return f'<p class="muted">{PLAIN}</p>'
    drawn = io.StringIO()
    chart = charts.tradeoff(frame, *_axes(state), size=state.size, log=tuple(sorted(state.log)))
    chart.properties(width=900, height=420).save(drawn, format="svg")
    return f'<figure role="img" aria-label="{escape(said)}">{drawn.getvalue()}</figure>'


def _table(shown: TableView) -> str:
    heads = "".join(
        f"<th scope=col>{escape(c['label'])}<small>{escape(c.get('unit', ''))}</small></th>" for c in shown["columns"]
    )
    lines = "".join(
        f'<tr><th scope=row><a href="#{row["id"]}">{escape(row["name"])}</a><small>{escape(row["remark"])}</small></th>'
        + "".join(f"<td>{escape(c['text'])}<small>{escape(c.get('sub', ''))}</small></td>" for c in row["cells"][1:])
        + "</tr>"
        for row in shown["rows"]
    )
    return (
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'
        f'<p class="muted">{escape(shown["note"])}</p>'
    )


def _variant(state: State, identity: str) -> str:
    """One variant as its panel shows it, with its recipe as code."""
    found = variant.variant(replace(state, selected=identity, compared=""))
    chosen = state.variant(identity)
    code = f"<pre>{escape(chosen.recipe.code())}</pre>" if chosen is not None and chosen.recipe.steps else ""
    figures = "".join(map(_fact, found["figures"]))
    return f'<article id="{identity}"><h3>{escape(found["name"])}</h3>{_words(found)}<dl>{figures}</dl>{code}</article>'


def _words(found: VariantView) -> str:
    said = [found["verdict"], found["reason"], *found["notes"]]
    if (label := found["label"]) is not None:
        said += [f"Tags: {', '.join(label['tags'])}" if label["tags"] else "", label["text"]]
    return "".join(f"<p>{escape(one)}</p>" for one in said if one)


def _fact(one: Figure) -> str:
    small = "".join(f"<small>{escape(text)}</small>" for text in (one["interval"], one["change"]) if text)
    return f"<div><dt>{escape(one['label'])}</dt><dd>{escape(one['text'])}{small}</dd></div>"
