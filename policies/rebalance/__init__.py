"""Which guests to move, and in which order, so that things get better: steps, each of them feasible.

`question` says what is asked and answered, `model` counts it, `search` is exact on small fleets,
`room` makes room on large ones, `realize` turns counts into pCPUs, and `verify` shares no code with
any of them.
"""
