"""Text becomes a corpus for pretraining: tokenised, shuffled, in shards."""
