"""Training: objectives, optimizers, the step, and what a recipe asks for."""
