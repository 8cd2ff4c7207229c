"""One value: everything that seals and opens a single value, and nothing that knows where values are kept."""
