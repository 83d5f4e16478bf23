"""One team's tables: the SQL that reads and writes them, pages going in, doubt settled."""
