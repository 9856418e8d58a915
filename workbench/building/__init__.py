"""Recipes carried out: the rewrites, the lowerings, and the check against the plan."""
