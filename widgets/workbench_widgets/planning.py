"""The plan that the screen shows: that of the recipe in the editor, also where it cannot work."""

from __future__ import annotations

from workbench.errors import WorkbenchError
from workbench.plan import Plan
from workbench.recipe import Recipe
from workbench.study import Study


def plan(study: Study, recipe: Recipe) -> Plan:
    """A recipe's plan; that of one that cannot work leaves the network as it is and says why."""
    try:
        return recipe.plan(study.model)
    except WorkbenchError as error:
        network = study.model.network
        return Plan(network, network, (), problem=str(error))
