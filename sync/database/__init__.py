"""The database as a whole: its schema, version and upgrades, its row counts, and what the server must support."""
