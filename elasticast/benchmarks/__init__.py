"""Benchmarks: what is compared is measured side by side, in turns, in one run, and reported as a ratio."""
