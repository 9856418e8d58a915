"""How studies are kept, what their variants are called, and those that the first page shows."""
