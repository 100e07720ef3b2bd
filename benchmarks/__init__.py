"""What things cost. Each module prints a table and writes JSON into benchmarks/results/."""
