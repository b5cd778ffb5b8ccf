"""A small synthetic world in ten languages, for the quickstart and tests."""
