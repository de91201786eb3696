"""The embedded hypervisor: a separate one, with a file and a connection of its own."""
