"""Readers of labelled files: a format each, and no model."""
