"""How fast the CPUs of each node reach the memory of each other, as stress-ng measures it on the host it runs on."""
