"""Backfills: their records, their parts, and how each object type is read completely."""
