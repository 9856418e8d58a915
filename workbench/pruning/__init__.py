"""Which channels of a network live and die together, and how they are cut: knows shapes and plain torch layers."""
