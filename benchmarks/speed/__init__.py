"""How fast the pipeline is beside its peers and beside what the machine can do: `make bench`.

A case is a module with `NAME`, `TITLE` and `measure(options) -> Measured`. It runs every side as a
process of its own, in turns, so that a moment in which the machine is busy meets all of them alike, and
keeps medians, spread and ratios. It writes `docs/results/speed/`.
"""
