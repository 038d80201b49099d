"""From volumes to global batches: sampling, normalization, loading."""
