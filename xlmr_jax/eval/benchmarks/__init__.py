"""XTREME, XTREME-R, CLUE and FewCLUE as tables, with published scores."""
