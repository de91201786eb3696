"""The hypervisors that a plan is carried out on: one port, one module each."""
