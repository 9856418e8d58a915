"""`wb.catalog()`: the networks that can be loaded by name."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["name", "source", "data", "params", "macs", "accuracy", "file_bytes"]


def catalog() -> pd.DataFrame:
    """One row a network: name, source, data (what it was trained on), params, macs, accuracy, file_bytes.

    Accuracy is top-1 on the test split, NaN where a network is judged by something else, such as a segmenter.

    The bundled ones come first, then torchvision's where it is installed (its published figures,
    on ImageNet; its "operations" count is ours, multiply-accumulates).

    >>> wb.catalog()["name"].tolist()[:3]
    ['fashion-vgg', 'fashion-resnet', 'fashion-mobilenet']
    """
    import pandas as pd

    rows = _bundled()
    if importlib.util.find_spec("torchvision") is not None:
        rows += _torchvision()
    return pd.DataFrame(rows, columns=COLUMNS)


def _bundled() -> list[dict[str, Any]]:
    from workbench.models.architectures import BUNDLED
    from workbench.models.doors import bundled_path, load
    from workbench.untrusted import read_metadata

    rows = []
    for name, kind in BUNDLED.items():
        path = bundled_path(name)
        totals = load(name).network.totals
        accuracy = float(read_metadata(path).get("test_accuracy", "nan"))
        figures = {"params": totals.params, "macs": totals.macs, "accuracy": accuracy}
        rows.append(
            {"name": name, "source": "bundled", "data": kind.data, **figures, "file_bytes": path.stat().st_size}
        )
    return rows


def _torchvision() -> list[dict[str, Any]]:
    try:
        from torchvision import models  # an optional extra
    except (ImportError, RuntimeError):  # built for another torch: it is as good as not installed
        return []
    rows = []
    for name in models.list_models(module=models):
        meta = models.get_model_weights(name).DEFAULT.meta
        rows.append(
            {
                "name": f"torchvision:{name}",
                "source": "torchvision",
                "data": "ImageNet-1K",
                "params": meta["num_params"],
                "macs": meta["_ops"] * 1e9,
                "accuracy": meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100,
                "file_bytes": meta["_file_size"] * 1e6,
            }
        )
    return rows
