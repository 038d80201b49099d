"""Predicts whole volumes block by block: tiles, test-time variants, and the predictor."""
