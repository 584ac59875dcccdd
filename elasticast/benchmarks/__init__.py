"""Benchmarks: alternatives are timed alternately in one run, and reported as ratios."""
