"""The training loop of every task: state, optimizer, checkpoints, logging."""
