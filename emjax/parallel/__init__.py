"""Devices: compilation, mesh, sharding, processes."""
