"""Hugging Face's directories, read and written; their words stay here."""
