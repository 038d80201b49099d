"""The engine for whole volumes: works on each block once, in bounded memory, and resumes after any stop; no jax."""
