"""What a run minimises, how it steps, and what a recipe asks of the loop."""
