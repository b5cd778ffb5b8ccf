"""Rows of the floor plan: what a Dense and a LayerNorm have in it."""


def dense_rows(path: str, *dims: str) -> dict[str, tuple[str, ...]]:
  """Rows of a Dense; its bias has the output's dimension."""
  return {f'{path}/kernel': dims, f'{path}/bias': (*dims[:-2], dims[-1])}


def norm_rows(path: str, *dims: str) -> dict[str, tuple[str, ...]]:
  """Rows of a LayerNorm."""
  return {f'{path}/scale': (*dims, 'norm'), f'{path}/bias': (*dims, 'norm')}
