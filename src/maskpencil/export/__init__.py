"""Convert networks to other forms, each measured against the original.

- `int8`: 8-bit integers, for CPUs
"""
