"""People: who they are, how they sign in, which teams they belong to and what they did."""

from api.people.store import Caller, Member, Membership, People, Place, Role, Session, User

__all__ = ["Caller", "Member", "Membership", "People", "Place", "Role", "Session", "User"]
