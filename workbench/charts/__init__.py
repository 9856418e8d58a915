"""Charts as pure functions: a frame in, an `altair.Chart` out. Nothing here draws or measures.

The charts carry no colours of a theme (their background is empty), so that the same chart suits a light
and a dark page. Colours are Okabe and Ito's (2008), and every group differs in shape as well.

>>> chart = wb.charts.tradeoff(study.frame(), x="file_bytes", y="accuracy")
>>> chart.to_dict()["layer"] != []
True
"""

from workbench.charts import _jsonschema  # noqa: F401  # first: it leads Altair's own import of jsonschema
from workbench.charts.by_class import by_class
from workbench.charts.columns import COLUMNS, Column, check_columns, column, drawable, lower
from workbench.charts.cost_by_layer import LAYERS, cost_by_layer, cost_rows, cost_summary
from workbench.charts.devices import devices
from workbench.charts.diagnosis import flips, layer_errors, png
from workbench.charts.guidelines import guidelines
from workbench.charts.lineage import lineage, lineage_points, lineage_summary, steps_of
from workbench.charts.marks import COLOURS, DATASET, competing, roles
from workbench.charts.parallel import PARALLEL, parallel, parallel_columns, parallel_points, parallel_summary
from workbench.charts.predicted import predicted_points, predicted_summary
from workbench.charts.rows import records
from workbench.charts.sweep import sweep, sweep_summary
from workbench.charts.variants import points, speedup, speedup_points, summary, tradeoff

__all__ = [
    "COLOURS", "COLUMNS", "DATASET", "LAYERS", "PARALLEL", "Column", "by_class", "check_columns", "column", "competing",
    "cost_by_layer", "cost_rows", "cost_summary", "devices", "drawable", "flips", "guidelines", "layer_errors",
    "lineage", "lineage_points", "lineage_summary", "lower", "parallel", "parallel_columns", "parallel_points",
    "parallel_summary", "png", "points", "predicted_points", "predicted_summary", "records", "roles", "speedup",
    "speedup_points", "steps_of", "summary", "sweep", "sweep_summary", "tradeoff",
]  # fmt: skip
