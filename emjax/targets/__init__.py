"""Labels to what a network learns, in JAX, inside the compiled step."""
