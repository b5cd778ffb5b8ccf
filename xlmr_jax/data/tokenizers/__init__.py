"""Vocabularies: text to ids and back, training, growing, trimming."""
