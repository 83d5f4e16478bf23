"""Users, their sessions, teams and memberships in Postgres; the statements are in store.sql."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row, scalar_row

from sync.ids import new_id
from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("store.sql")).bind()


class Role(StrEnum):
    OWNER = "owner"
    ADMIN = "admin"
    VIEWER = "viewer"


@dataclass(frozen=True, slots=True)
class User:
    id: str
    email: str
    created_at: datetime
    password_hash: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent this request. `role` is their role in the URL's team; None without a team, or if they are no member."""

    id: str
    email: str
    created_at: datetime
    is_operator: bool  # of the server
    role: Role | None
    is_stale: bool  # the session was not extended recently

    def __post_init__(self) -> None:
        if self.role is not None:
            object.__setattr__(self, "role", Role(self.role))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session is used: its last address and the browser's user agent."""

    address: str
    agent: str


@dataclass(frozen=True, slots=True)
class Session:
    """A session as its owner sees it."""

    id: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    address: str | None
    agent: str | None
    is_current: bool


@dataclass(frozen=True, slots=True)
class Membership:
    """A team as one of its members sees it."""

    id: str
    name: str
    role: str


@dataclass(frozen=True, slots=True)
class Member:
    """A user as their team sees them."""

    user_id: str
    email: str
    role: Role
    created_at: datetime  # when they joined the team

    def __post_init__(self) -> None:
        object.__setattr__(self, "role", Role(self.role))


class People:
    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def find_caller(
        self, token_sha256: bytes, *, team_id: str | None, extend_after: timedelta, longest: timedelta
    ) -> Caller | None:
        with self._connection.cursor(row_factory=class_row(Caller)) as cursor:
            parameters = {
                "token_sha256": token_sha256, "team_id": team_id, "extend_after": extend_after, "longest": longest,
            }  # fmt: skip
            return cursor.execute(_QUERIES["find_caller"], parameters).fetchone()

    def set_operator(self, user_id: str, *, is_operator: bool) -> bool:
        """Returns False if nothing changed."""
        return self._scalar("set_operator", user_id=user_id, is_operator=is_operator) is not None

    def has_users(self) -> bool:
        return bool(self._scalar("has_users"))

    def create_session(self, token_sha256: bytes, *, user_id: str, lifetime: timedelta, place: Place) -> None:
        self._run(
            "create_session",
            token_sha256=token_sha256,
            user_id=user_id,
            lifetime=lifetime,
            address=place.address,
            agent=place.agent,
        )

    def extend_session(self, token_sha256: bytes, *, lifetime: timedelta, longest: timedelta, place: Place) -> None:
        """Never beyond `longest` after the session began."""
        self._run(
            "extend_session",
            token_sha256=token_sha256,
            lifetime=lifetime,
            longest=longest,
            address=place.address,
            agent=place.agent,
        )

    def list_sessions(self, user_id: str, token_sha256: bytes, *, longest: timedelta) -> list[Session]:
        with self._connection.cursor(row_factory=class_row(Session)) as cursor:
            parameters = {"user_id": user_id, "token_sha256": token_sha256, "longest": longest}
            return cursor.execute(_QUERIES["list_sessions"], parameters).fetchall()

    def end_session(self, user_id: str, session_id: str) -> bool:
        return self._scalar("end_session", user_id=user_id, id=session_id) is not None

    def delete_session(self, token_sha256: bytes) -> None:
        self._run("delete_session", token_sha256=token_sha256)

    def delete_sessions_of_user(self, user_id: str) -> None:
        self._run("delete_sessions_of_user", user_id=user_id)

    def delete_expired_sessions(self, user_id: str) -> None:
        self._run("delete_expired_sessions", user_id=user_id)

    def normal_email(self, email: str) -> str:
        """The same for all spellings of an address that find the same user."""
        return str(self._scalar("normal_email", email=email))

    def find_user(self, email: str) -> User | None:
        with self._connection.cursor(row_factory=class_row(User)) as cursor:
            return cursor.execute(_QUERIES["find_user"], {"email": email}).fetchone()

    def get_user(self, user_id: str) -> User:
        """A user who is known to exist."""
        with self._connection.cursor(row_factory=class_row(User)) as cursor:
            user = cursor.execute(_QUERIES["get_user"], {"user_id": user_id}).fetchone()
        assert user is not None, "there is no such user"
        return user

    def create_user(self, email: str, password_hash: str) -> str:
        user_id = new_id("user")
        self._run("create_user", id=user_id, email=email, password_hash=password_hash)
        return user_id

    def set_password(self, user_id: str, password_hash: str) -> None:
        self._run("set_password", user_id=user_id, password_hash=password_hash)

    def list_teams(self, user_id: str) -> list[Membership]:
        with self._connection.cursor(row_factory=class_row(Membership)) as cursor:
            return cursor.execute(_QUERIES["list_teams"], {"user_id": user_id}).fetchall()

    def list_accounts(self, user_id: str) -> list[tuple[str, bool, str]]:
        """(account, livemode, team's name) of each of the user's teams."""
        return self._connection.execute(_QUERIES["list_accounts"], {"user_id": user_id}).fetchall()

    def find_team(self, name: str) -> str | None:
        team_id: str | None = self._scalar("find_team", name=name)
        return team_id

    def create_team(self, name: str) -> str:
        team_id = new_id("team")
        self._run("create_team", id=team_id, name=name)
        return team_id

    def count_owned(self, user_id: str) -> int:
        """How many teams the user owns."""
        return int(self._scalar("count_owned", user_id=user_id))

    def add_member(self, team_id: str, user_id: str, role: Role | None) -> None:
        """Without a role, a new member becomes an owner and an existing one keeps theirs."""
        self._run("add_member", team_id=team_id, user_id=user_id, role=role)

    def list_members(self, team_id: str) -> list[Member]:
        with self._connection.cursor(row_factory=class_row(Member)) as cursor:
            return cursor.execute(_QUERIES["list_members"], {"team_id": team_id}).fetchall()

    def find_member(self, team_id: str, user_id: str) -> Member | None:
        with self._connection.cursor(row_factory=class_row(Member)) as cursor:
            return cursor.execute(_QUERIES["find_member"], {"team_id": team_id, "user_id": user_id}).fetchone()

    def remove_member(self, team_id: str, user_id: str) -> None:
        self._run("remove_member", team_id=team_id, user_id=user_id)

    def has_other_owner(self, team_id: str, user_id: str) -> bool:
        return bool(self._scalar("has_other_owner", team_id=team_id, user_id=user_id))

    def lock_members(self, team_id: str) -> None:
        self._run("lock_members", team_id=team_id)

    def lock_people(self) -> None:
        self._run("lock_people")

    def _run(self, query: str, /, **parameters: Any) -> None:
        self._connection.execute(_QUERIES[query], parameters)

    def _scalar(self, query: str, /, **parameters: Any) -> Any:
        with self._connection.cursor(row_factory=scalar_row) as cursor:
            return cursor.execute(_QUERIES[query], parameters).fetchone()
