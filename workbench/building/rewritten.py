"""Whether a rewritten network is what the plan said: the same outputs where nothing is lost, and the costs told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch

from workbench.cost.trace import trace
from workbench.jobs import Reporter
from workbench.modules.calling import Inputs, call, tensors_map
from workbench.modules.checking import require_equal
from workbench.plan import Plan
from workbench.step import Step

if TYPE_CHECKING:
    from torch import nn

#: An error of the weights below this is rounding: the layer computes what it did.
NOTHING = 1e-5


def check_rewritten(
    step: Step, plan: Plan, modules: tuple[nn.Module, nn.Module], inputs: Inputs, report: Reporter
) -> None:
    """Compare a network before and after a step, on a few inputs, with what the step's plan says of them.

    A step that approximates nothing has to leave the outputs as they are. Costs other than those that were told are
    noted; a step whose widths only the data decide tells "about", and is not held to it.
    Raises: `StepFailed` where outputs change that should not.
    """
    before, after = modules
    if is_lossless(plan):
        with torch.no_grad():
            require_equal(step.expression(), _running(before), _running(after), [inputs])
    found, told = trace(after, _one(inputs)).totals, plan.totals
    if plan.exact and (found.macs, found.params) != (told.macs, told.params):
        report.note(
            f"{step.brief}: it became {found.macs:,} MACs and {found.params:,} parameters, where the plan said "
            f"{told.macs:,} and {told.params:,}. Please report this network: it is a fault of the workbench."
        )


def is_lossless(plan: Plan) -> bool:
    """Whether all that a step changes keeps its weights to rounding, or it changes nothing at all, for certain."""
    changed = [row for row in plan.rows if row.applies]
    return plan.exact and all(row.relative_error is not None and row.relative_error < NOTHING for row in changed)


def _running(module: nn.Module) -> Callable[[Any], Any]:
    return lambda inputs: call(module, tensors_map(torch.clone, inputs))


def _one(inputs: Inputs) -> Inputs:
    """The first of a batch."""
    return cast("Inputs", tensors_map(lambda one: one[:1], inputs))
