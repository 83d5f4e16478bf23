"""HTTP: checks a request, calls a use case and answers."""

from api.app import create_app

__all__ = ["create_app"]
