"""Benchmarks: what the product does, next to what the machine can do, in the same run."""
