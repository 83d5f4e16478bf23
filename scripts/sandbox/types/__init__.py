"""The object types beyond the first six, grouped as in sync/registry: a kind and a shape each."""
