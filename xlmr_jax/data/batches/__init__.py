"""Which examples share a row, in which order, and what a step gets."""
