"""Whole walks: what a newcomer does after `make demo`, in a real browser."""
