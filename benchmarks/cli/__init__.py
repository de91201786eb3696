"""The laboratory's commands, one module each; benchmarks/command.py gathers them."""
