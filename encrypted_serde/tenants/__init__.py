"""A random data key for every tenant, wrapped by a key service and kept in the user's own store."""
