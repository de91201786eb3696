"""Which so many of a host's homes are nearest to each other: exact, anytime, and without a solver."""
