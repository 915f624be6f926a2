"""Pulling the plug: real processes, real kills, cut connections, full disks."""
