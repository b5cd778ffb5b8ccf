"""The kinds of question: an example to features, outputs to an answer.

A kind is a module with two inverse halves, `encode` and `decode`, and `gold`,
which says what is right, and a row of KINDS (kinds.py), which names its heads,
its labels, its metric and its objective.
"""
