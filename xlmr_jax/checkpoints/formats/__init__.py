"""Bytes of files to arrays: safetensors and PyTorch's, without PyTorch."""
