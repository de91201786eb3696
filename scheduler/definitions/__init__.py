"""From a plan to the text that a hypervisor creates a guest from, and back."""
