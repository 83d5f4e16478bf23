"""HTTP: checks the request, asks a use case, answers."""

from api.app import create_app

__all__ = ["create_app"]
