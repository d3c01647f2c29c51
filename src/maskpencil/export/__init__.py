"""Networks in other forms, each measured against the one it was made of.

- `int8`: in whole numbers, for CPUs
"""
