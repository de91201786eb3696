"""How others decide, as policies: their published algorithms with their limits and tie-breaks.

Each module says where its facts were read. What all have in common stands in `policies.peers.peer`:
a peer knows sums and its own rules, not ours, so a decision of a peer may break a hard rule of the
checker. Such a plan cannot be applied; a benchmark counts it.
"""
