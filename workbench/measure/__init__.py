"""What is measured on the artefact itself: accuracy or another metric, and latency."""

from workbench.measure.metrics import Metric

__all__ = ["Metric"]
