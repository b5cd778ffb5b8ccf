"""What a run will need, before it is paid for, by the TPU's compiler."""
