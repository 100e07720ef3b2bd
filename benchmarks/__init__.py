"""Benchmarks. Each module prints its figures as a table; most can also write them as JSON, into benchmarks/results/."""
