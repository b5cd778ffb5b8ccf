"""Plans a run before it is paid for, with the TPU's compiler."""
