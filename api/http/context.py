"""Gives views the objects that the whole process shares."""

from typing import cast

from flask import current_app

from workers.context import Context

EXTENSION = "billstack"


def current_context() -> Context:
    return cast(Context, current_app.extensions[EXTENSION])
