import sys

for n in range(1000):
    print(n, "debug " * 160, file=sys.stderr if n % 2 else sys.stdout)
