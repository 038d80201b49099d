"""Work on several devices and processes: compilation, mesh, sharding, processes."""
