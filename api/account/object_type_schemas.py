"""What the API says about the object types that a team can mirror."""

from marshmallow import fields

from api.http.fields import Body


class TypeCostAnswer(Body):
    requests = fields.Integer(required=True)
    seconds = fields.Integer(required=True, metadata={"description": "if nothing else takes requests of the account"})
    words = fields.String(required=True, metadata={"description": "such as `12,500 customers: about 9 minutes`"})


class ObjectTypeAnswer(Body):
    name = fields.String(required=True)
    stripeObject = fields.String(required=True, metadata={"description": "the `object` value of Stripe's JSON"})
    table = fields.String(required=True)
    path = fields.String(required=True)
    group = fields.String(required=True, metadata={"description": "its section in Stripe's documentation"})
    title = fields.String(required=True)
    default = fields.Boolean(required=True, metadata={"description": "every team mirrors it"})
    mirrored = fields.Boolean(required=True)
    syncedAt = fields.DateTime(required=True, allow_none=True)
    cost = fields.Nested(
        TypeCostAnswer,
        required=True,
        allow_none=True,
        metadata={"description": "what reading it takes if Stripe lists it under each customer only"},
    )


class ObjectTypesAnswer(Body):
    objectTypes = fields.List(fields.Nested(ObjectTypeAnswer), required=True)
