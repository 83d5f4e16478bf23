"""One team's tables: the SQL that reads and writes them, the writing of pages, and the settling of doubt."""
