"""Whole fleets: patterns of guests per host at the prices of a linear program (README.md, "Large batches")."""
