"""The database as a whole: its schema and version, upgrades, counts, and what the server must be able to do."""
