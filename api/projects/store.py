"""A team's projects in Postgres; the statements are in store.sql."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from sync.ids import new_id
from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("store.sql")).bind()


@dataclass(frozen=True, slots=True)
class Project:
    """One SaaS product of a team."""

    id: str
    name: str
    created_at: datetime
    updated_at: datetime


class ProjectStore:
    def __init__(self, connection: Connection[Any], team_id: str) -> None:
        self._connection = connection
        self._team_id = team_id

    def create_project(self, name: str) -> Project:
        project = self._one("create_project", id=new_id("proj"), name=name)
        assert project is not None
        return project

    def list_projects(self) -> list[Project]:
        with self._connection.cursor(row_factory=class_row(Project)) as cursor:
            return cursor.execute(_QUERIES["list_projects"], {"team_id": self._team_id}).fetchall()

    def find_project(self, project_id: str) -> Project | None:
        return self._one("find_project", project_id=project_id)

    def rename_project(self, project_id: str, name: str) -> Project | None:
        return self._one("rename_project", project_id=project_id, name=name)

    def delete_project(self, project_id: str) -> Project | None:
        """Also deletes its keys and its customers' links. Nothing changes at Stripe."""
        return self._one("delete_project", project_id=project_id)

    def _one(self, query: str, /, **parameters: Any) -> Project | None:
        with self._connection.cursor(row_factory=class_row(Project)) as cursor:
            return cursor.execute(_QUERIES[query], parameters | {"team_id": self._team_id}).fetchone()
