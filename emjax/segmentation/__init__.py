"""From predictions to instances, on the host: numpy, numba and C++ libraries, never jax."""
