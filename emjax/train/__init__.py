"""One train loop for every task: state, optimizer, checkpoints, logging."""
