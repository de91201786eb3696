"""A host the way people think of it: one box a node, cores as cells, guests in colour, memory as bars."""
