"""The engine for whole volumes: each block once, in bounded memory, however often it is stopped; no jax."""
