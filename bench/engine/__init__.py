"""The benchmark of the engine beside moto's server."""
