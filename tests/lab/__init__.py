"""Real many-node hosts under software emulation: two KVM hosts and one Xen host (README.md)."""
