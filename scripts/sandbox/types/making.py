"""Makes up one object for an account that is in use."""

from scripts.sandbox.shapes import Json
from scripts.sandbox.state import State
from scripts.sandbox.types.maker import Made
from scripts.sandbox.types.registry import make, new_maker


def make_up(state: State, type: str, about: Json | None = None) -> Made:
    return make(new_maker(state.shelves, state.dice, livemode=state.livemode), type, state.now(), about)
