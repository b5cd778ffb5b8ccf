"""From bytes to batches: text, examples, rows.

tokenizers/ text to ids; readers/ labelled files to examples; corpus/ text to
shards for pretraining; batches/ examples or shards to packed rows; toy/ the
synthetic world of the quickstart.
"""
