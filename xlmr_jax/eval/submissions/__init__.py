"""Predictions as the leaderboards take them: written, checked, scored."""
