"""Models in files: ours, Hugging Face's, fairseq's, COMET's; both ways."""
