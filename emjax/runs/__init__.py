"""The run folder and what every job leaves in it; no jax."""
