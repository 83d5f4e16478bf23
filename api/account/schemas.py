"""The input and output of api/account/views.py."""

from marshmallow import fields, validate

from api.http.fields import ApiVersion, Body, Choices, Count, Flag, PastTime, StripeKey
from sync.object_types import OBJECT_TYPES


class Connect(Body):
    secretKey = StripeKey(required=True, metadata={"description": "sk_…, or rk_… for a restricted key"})
    publishableKey = StripeKey(metadata={"description": "pk_…"})
    webhookSecret = StripeKey(metadata={"description": "whsec_…, the endpoint's signing secret"})
    apiVersion = ApiVersion(
        metadata={
            "description": "which version of Stripe's API the mirror, our webhook endpoint and the gateway speak;"
            " without it, the one of before, at first BillStack's own. Another one reads everything again"
        }
    )


class Disconnect(Body):
    purge = Flag(load_default=False, metadata={"description": "also drop the mirrored data; only an owner may"})


class StartBackfill(Body):
    # A null sent by mistake must not mean all types.
    objects = Choices(tuple(OBJECT_TYPES), load_default=None, allow_none=False)
    createdAfter = PastTime(load_default=None, allow_none=False)


class History(Body):
    limit = Count(least=1, most=100, load_default=20)


class ConnectedAnswer(Body):
    success = fields.Boolean(required=True)
    webhookUrl = fields.Url(required=True)
    syncStatus = fields.String(required=True)


class WebhookUrlAnswer(Body):
    webhookUrl = fields.Url(required=True)
    instructions = fields.String(required=True)


class SyncedAnswer(Body):
    synced = fields.Integer(required=True)


class StartedAnswer(Body):
    success = fields.Boolean(required=True)
    message = fields.String(required=True)
    syncStatus = fields.String(required=True)
    backfillId = fields.String(required=True)
    result = fields.Dict(fields.String(), fields.Nested(SyncedAnswer), required=True)


class CanceledAnswer(Body):
    success = fields.Boolean(required=True)
    message = fields.String(required=True)
    backfillId = fields.String(required=True, allow_none=True)


class TypeAnswer(SyncedAnswer):
    status = fields.String(required=True)
    progress = fields.Float(required=True)
    error = fields.String(required=True, allow_none=True)


class BackfillAnswer(Body):
    id = fields.String(required=True)
    objects = fields.List(fields.String(), required=True)
    createdAfter = fields.DateTime(required=True, allow_none=True)
    startedAt = fields.DateTime(required=True)
    finishedAt = fields.DateTime(required=True, allow_none=True)
    durationSeconds = fields.Float(required=True, allow_none=True)
    written = fields.Integer(required=True, metadata={"description": "rows that were new or had changed"})
    error = fields.String(required=True, allow_none=True)


class WorkAnswer(Body):
    state = fields.String(required=True, metadata={"description": "working, paused, stopped or waiting"})
    holder = fields.String(
        required=True, allow_none=True, metadata={"description": "the host and process that hold the lease"}
    )
    renewedAt = fields.DateTime(required=True, metadata={"description": "its last sign of life"})
    silentSeconds = fields.Float(required=True)
    resumesWithinSeconds = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "at most, if the holder is silent or dead; otherwise null"},
    )


class RetryAnswer(Body):
    path = fields.String(required=True)
    status = fields.Integer(required=True, allow_none=True, metadata={"description": "null if there was no answer"})
    message = fields.String(required=True, metadata={"description": "Stripe's own"})
    requestId = fields.String(required=True, allow_none=True)
    attempt = fields.Integer(required=True, metadata={"description": "the one that failed"})
    attempts = fields.Integer(required=True, metadata={"description": "the type fails after this many"})
    nextTryAt = fields.DateTime(required=True)
    nextTryInSeconds = fields.Float(required=True)


class RunningAnswer(BackfillAnswer):
    objectsPerSecond = fields.Float(required=True)
    work = fields.Dict(
        fields.String(),
        fields.Nested(WorkAnswer),
        required=True,
        metadata={"description": "who works on each unfinished part; empty if no backfill runs"},
    )
    workers = fields.Integer(
        required=True,
        allow_none=True,
        metadata={
            "description": "how many backfill workers are alive; null if no backfill runs or Redis is unavailable"
        },
    )
    etaSeconds = fields.Float(required=True, allow_none=True, metadata={"description": "once it is steady"})
    noProgressSeconds = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "seconds since a count last moved, while lists are being read"},
    )
    retries = fields.Dict(
        fields.String(),
        fields.Nested(RetryAnswer),
        required=True,
        metadata={"description": "by part: the request that failed most often and is being retried"},
    )
    notice = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "why nothing seems to move, such as a dead worker or Stripe's refusal; null if all is well"
        },
    )


class RunAnswer(BackfillAnswer):
    status = fields.String(required=True, metadata={"description": "syncing, ready, error or canceled"})
    result = fields.Dict(fields.String(), fields.Nested(TypeAnswer), required=True)


class PastAnswer(RunAnswer):
    warnings = fields.List(fields.String(), required=True)
    adopted = fields.String(required=True, allow_none=True)


class HistoryAnswer(Body):
    backfills = fields.List(fields.Nested(PastAnswer), required=True)


class DriftAnswer(Body):
    count = fields.Integer(required=True)
    ids = fields.List(fields.String(), required=True, metadata={"description": "up to 20 of them"})


class ComparedAnswer(Body):
    compared = fields.Integer(required=True)
    missing = fields.Nested(DriftAnswer, required=True)
    stale = fields.Nested(DriftAnswer, required=True)
    notDeleted = fields.Nested(DriftAnswer, required=True)
    notStored = fields.Nested(DriftAnswer, metadata={"description": "what could not be repaired"})


class ReconcileAnswer(Body):
    id = fields.String(required=True)
    status = fields.String(required=True, metadata={"description": "running, done, error or canceled"})
    startedAt = fields.DateTime(required=True)
    finishedAt = fields.DateTime(required=True, allow_none=True)
    durationSeconds = fields.Float(required=True, allow_none=True)
    result = fields.Dict(fields.String(), fields.Nested(ComparedAnswer), required=True)
    error = fields.String(required=True, allow_none=True)


class ReconcilingAnswer(Body):
    success = fields.Boolean(required=True)
    message = fields.String(required=True)
    reconcileId = fields.String(required=True)


class WebhookAnswer(Body):
    success = fields.Boolean(required=True)
    message = fields.String(required=True)
    webhookUrl = fields.Url(required=True, require_tld=False)
    endpointId = fields.String(required=True)
    apiVersion = fields.String(required=True)


class MirroredAnswer(Body):
    objects = fields.Integer(required=True, metadata={"description": "live rows now"})
    complete = fields.Boolean(
        required=True, metadata={"description": "whether a full backfill of the type ever finished"}
    )
    completedAt = fields.DateTime(required=True, allow_none=True, metadata={"description": "when the last one did"})
    rightAsOf = fields.DateTime(
        required=True, allow_none=True, metadata={"description": "everything that happened up to then is in the mirror"}
    )
    comparedAt = fields.DateTime(
        required=True, allow_none=True, metadata={"description": "when it was last compared with Stripe"}
    )
    differed = fields.Integer(
        required=True, allow_none=True, metadata={"description": "objects that the last comparison had to repair"}
    )


class RefusedAnswer(Body):
    count = fields.Integer(required=True)
    since = fields.DateTime(required=True)
    lastAt = fields.DateTime(required=True)


class WebhookState(Body):
    state = fields.String(required=True, validate=validate.OneOf(["none", "waiting", "active", "refused"]))
    url = fields.String(required=True)
    endpointId = fields.String(
        required=True, allow_none=True, metadata={"description": "the endpoint that BillStack created at Stripe"}
    )
    lastDeliveryAt = fields.DateTime(required=True, allow_none=True)
    lagSeconds = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "seconds between the last event and its row in the mirror"},
    )
    refused = fields.Nested(
        RefusedAnswer,
        required=True,
        allow_none=True,
        metadata={"description": "deliveries with a wrong signature; anybody can send those"},
    )
    unreachable = fields.String(
        required=True, allow_none=True, metadata={"description": "why Stripe cannot reach the address"}
    )


class ProblemAnswer(Body):
    about = fields.String(
        required=True, validate=validate.OneOf(["server", "key", "sync", "webhook", "events", "comparison"])
    )
    sentence = fields.String(required=True)


class StatusAnswer(Body):
    connected = fields.Boolean(required=True)
    isActive = fields.Boolean(required=True)
    syncStatus = fields.String(required=True)
    schemaExists = fields.Boolean(required=True)
    keyValid = fields.Boolean(required=True)
    accountName = fields.String(required=True, allow_none=True)
    accountId = fields.String(required=True, allow_none=True)
    livemode = fields.Boolean(required=True, allow_none=True)
    apiVersion = fields.String(
        required=True, allow_none=True, metadata={"description": "the version of Stripe's API that the mirror speaks"}
    )
    lastSyncedAt = fields.DateTime(required=True, allow_none=True)
    lastFullSyncAt = fields.DateTime(
        required=True,
        allow_none=True,
        metadata={"description": "when the least recently completed type was last read whole; null if one never was"},
    )
    lastEventAt = fields.DateTime(required=True, allow_none=True)
    warnings = fields.List(fields.String(), required=True)
    problems = fields.List(
        fields.Nested(ProblemAnswer), required=True, metadata={"description": "the warnings, with what each is about"}
    )
    result = fields.Dict(fields.String(), fields.Nested(TypeAnswer), required=True)
    mirror = fields.Dict(fields.String(), fields.Nested(MirroredAnswer), required=True)
    webhook = fields.Nested(WebhookState, required=True, allow_none=True)
    backfill = fields.Nested(RunningAnswer, required=True, allow_none=True)
    lastRun = fields.Nested(
        RunAnswer,
        required=True,
        allow_none=True,
        metadata={"description": "the last backfill, even if it was canceled"},
    )
    lastReconcile = fields.Nested(ReconcileAnswer, required=True, allow_none=True)
