"""Every way to read a host; each gives the same `HostSnapshot`.

The only part of `probe` that touches the world. `parse_*` functions are pure (text in, value out),
`read_*` functions read and then parse.
"""
