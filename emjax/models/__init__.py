"""Networks; this is the only package that imports flax.linen."""
