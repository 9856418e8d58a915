"""What carries a recipe out and judges what came of it: here, or on the workers of an executor."""
