"""Speed against peers and against size; each module is a program: `python -m benchmarks.NAME --help`."""
