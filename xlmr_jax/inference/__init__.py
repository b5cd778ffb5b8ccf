"""A loaded model: what `xlmr_jax.load` returns, and its packed programs."""
