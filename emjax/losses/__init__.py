"""Loss functions: pure functions on arrays."""
