"""What low-rank and filter families share: a planner and a fitter, which are handed a family."""
