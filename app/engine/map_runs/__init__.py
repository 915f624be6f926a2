"""Map Runs: the child executions of distributed Maps, from their items to their results."""
