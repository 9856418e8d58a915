"""Variants measured on any device that has a browser: what it opens, what it sends, and what becomes of that."""
