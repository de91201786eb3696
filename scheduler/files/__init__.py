"""The files that people write: fleets and hosts."""
