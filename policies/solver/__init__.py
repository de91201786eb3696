"""The solver: a CP-SAT model over the whole batch and all hosts. The only home of OR-tools."""
