"""Tables of variants: their columns, limits, fronts."""
