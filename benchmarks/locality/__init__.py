"""Where guests really are on real hosts: by the hypervisor's default, by its automatic placement, and by a policy."""
