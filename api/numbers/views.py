"""Numbers of a team and of a project over HTTP."""

from typing import Any

from marshmallow import fields

from api.http.access import Access, require_scope
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.fields import Body, Count
from api.numbers.analytics import STATUSES, read_analytics
from api.projects.key_store import Scope

blueprint = Blueprint(
    "numbers",
    __name__,
    url_prefix="/api/billstack/teams/<team_id>",
    description="Recurring revenue, customers and churn, from the mirror. docs/numbers.md defines each number.",
)

_LONGEST_DAYS = 366


class TeamSpan(Body):
    days = Count(least=1, most=_LONGEST_DAYS, load_default=30)


class ProjectSpan(Body):
    growthDays = Count(least=1, most=_LONGEST_DAYS, load_default=30)


class InCurrency(Body):
    mrr = fields.Integer(required=True, metadata={"description": "per month, in the currency's smallest unit"})
    activeSubscriptions = fields.Integer(required=True)
    newMrr = fields.Integer(required=True, metadata={"description": "of subscriptions that began in these days"})
    churnedMrr = fields.Integer(required=True, metadata={"description": "of subscriptions that ended in these days"})


class Growth(Body):
    date = fields.Date(required=True)
    count = fields.Integer(required=True, metadata={"description": "customers at the end of the day"})


class WebhookStats(Body):
    total = fields.Integer(required=True)
    processed = fields.Integer(required=True)
    failed = fields.Integer(required=True)


class Analytics(Body):
    currencies = fields.Dict(keys=fields.String(), values=fields.Nested(InCurrency), required=True)
    currency = fields.String(required=True, allow_none=True, metadata={"description": "the currency with the most MRR"})
    mrr = fields.Float(required=True, metadata={"description": "MRR in `currency`, in whole units"})
    customerCount = fields.Integer(required=True)
    churnRate = fields.Float(required=True, metadata={"description": "percent of subscriptions, in these days"})
    subscriptionBreakdown = fields.Nested(
        Body.from_dict({status: fields.Integer(required=True) for status in STATUSES}, name="SubscriptionBreakdown"),
        required=True,
    )
    customerGrowth = fields.List(fields.Nested(Growth), required=True)
    webhookStats = fields.Nested(WebhookStats, required=True)
    asOf = fields.DateTime(
        required=True, allow_none=True, metadata={"description": "null until a full sync has finished"}
    )


@blueprint.endpoint(
    "GET",
    "/analytics",
    Access.READ_MIRROR,
    scope=Scope.READ_SUBSCRIPTIONS,
    query=TeamSpan,
    answers={200: Analytics},
)
def show_team_analytics(team_id: str, *, query: dict[str, int]) -> dict[str, Any]:
    """Read the numbers of a team

    MRR, subscriptions, customers and churn of the last `days`. An API key needs the scope `customers:read` too.
    """
    require_scope(Scope.READ_CUSTOMERS)
    return read_analytics(current_context(), team_id, query["days"])


@blueprint.endpoint(
    "GET",
    "/projects/<project_id>/analytics",
    Access.READ_PROJECT,
    scope=Scope.READ_SUBSCRIPTIONS,
    query=ProjectSpan,
    answers={200: Analytics},
)
def show_project_analytics(team_id: str, project_id: str, *, query: dict[str, int]) -> dict[str, Any]:
    """Read the numbers of a project

    The numbers of the project's customers. `webhookStats` counts the whole team's events. An API key needs the scope
    `customers:read` too.
    """
    require_scope(Scope.READ_CUSTOMERS)
    return read_analytics(current_context(), team_id, query["growthDays"], project_id)
