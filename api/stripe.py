"""The Stripe account behind a team: connect, status, backfills."""

from api.endpoints import Blueprint

blueprint = Blueprint("stripe", __name__, url_prefix="/api/billstack/teams/<team_id>/stripe")
