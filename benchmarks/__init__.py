"""Which policy is better, and by how much."""
