"""Makes global batches from volumes: sampling, normalization, loading."""
