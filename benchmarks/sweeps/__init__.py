"""Sweeps: scenario × policy × seed over processes of one machine, or over many machines, into one folder."""
