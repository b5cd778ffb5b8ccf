"""A whole benchmark in one command: trained, evaluated, in tables."""
