"""Official scores, equal to the scripts that define them."""
