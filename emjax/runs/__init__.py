"""The folder of a run and what every job leaves in it; no jax."""
