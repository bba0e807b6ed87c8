"""Benchmarks beside their peers: `python -m benchmarks.run`. Each prints one JSON line and changes nothing."""
