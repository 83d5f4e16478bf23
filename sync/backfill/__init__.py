"""A backfill: its record, its parts, and how each object type is read to the end."""
