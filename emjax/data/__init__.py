"""From volumes to global batches: sampling, normalisation, loading."""
