"""What is there: a host's NUMA nodes, CPUs, memory and guests, from any source."""
