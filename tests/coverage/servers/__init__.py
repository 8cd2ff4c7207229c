"""Servers for the rows, on loopback and in temporary directories; and how to see every raw cell in them."""
