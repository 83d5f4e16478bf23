"""Payment and setup intents: created, confirmed, captured and canceled with Stripe's test cards."""

from scripts.sandbox import charge_shapes
from scripts.sandbox.answers import Refused
from scripts.sandbox.fields import Field, fields_of, flag, integer, merge_metadata, one_of, read, text, texts
from scripts.sandbox.forms import Params
from scripts.sandbox.kinds import CHARGE
from scripts.sandbox.shapes import Json
from scripts.sandbox.state import State
from scripts.sandbox.types.making import make_up

_INTENT: dict[str, Field] = {
    "amount": integer,
    "automatic_payment_methods": fields_of,
    "capture_method": one_of("automatic", "automatic_async", "manual"),
    "currency": text,
    "customer": text,
    "description": text,
    "payment_method": text,
    "payment_method_types": texts,
    "receipt_email": text,
    "setup_future_usage": one_of("off_session", "on_session"),
}
_CONFIRMING: dict[str, Field] = {
    "confirm": flag,
    "off_session": flag,
    "payment_method": text,
    "return_url": text,
}
_SETUP: dict[str, Field] = {
    "automatic_payment_methods": fields_of,
    "customer": text,
    "description": text,
    "payment_method": text,
    "payment_method_types": texts,
    "usage": one_of("off_session", "on_session"),
}
_DECLINED = "pm_card_chargeDeclined"
_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action", "requires_capture")
# Given with a request; an intent does not show it.
_NOT_SHOWN = ("automatic_payment_methods", "confirm", "off_session", "return_url")


def create_intent(state: State, params: Params) -> Json:
    given = read(params, {**_INTENT, **_CONFIRMING}, required=("amount", "currency"))
    if given["amount"] < 1:
        raise Refused(
            "This value must be greater than or equal to 1.", code="parameter_invalid_integer", param="amount"
        )
    intent = _blank(state, "payment_intent")
    intent.update(
        amount=given["amount"],
        amount_received=0,
        customer=_customer(state, given),
        description=None,
        last_payment_error=None,
        latest_charge=None,
        payment_method=None,
        receipt_email=None,
        status="requires_payment_method",
    )
    intent.update(_shown(given), currency=given["currency"].lower())
    if intent["payment_method"]:
        intent["status"] = "requires_confirmation"
    merge_metadata(intent, params)
    state.create("payment_intent", intent)
    return _pay(state, intent) if given.get("confirm") else intent


def _blank(state: State, type: str) -> Json:
    """An intent with every field, and with none of what the maker makes up."""
    made, _ = make_up(state, type)
    return {**made, "client_secret": f"{made['id']}_secret_{state.dice.token(25)}", "metadata": {}}


def _customer(state: State, given: Json) -> str | None:
    return state.named("customer", given["customer"], "customer")["id"] if given.get("customer") else None


def _shown(given: Json) -> Json:
    return {name: value for name, value in given.items() if name not in _NOT_SHOWN}


def update_intent(state: State, id: str, params: Params) -> Json:
    intent = state.get("payment_intent", id)
    # A status, because something has to cause the events of a business.
    given = read(params, {**_INTENT, "active": flag, "name": text, "status": text})
    _customer(state, given)
    intent.update({name: value for name, value in _shown(given).items() if name in intent})
    if intent["status"] == "requires_payment_method" and intent["payment_method"]:
        intent["status"] = "requires_confirmation"
    merge_metadata(intent, params)
    return state.change("payment_intent", intent)


def confirm_intent(state: State, id: str, params: Params) -> Json:
    intent = state.get("payment_intent", id)
    given = read(params, _CONFIRMING)
    if intent["status"] not in ("requires_payment_method", "requires_confirmation"):
        raise _unexpected(intent, "confirm")
    intent.update(_shown(given))
    return _pay(state, intent)


def _pay(state: State, intent: Json) -> Json:
    if not intent["payment_method"]:
        raise Refused(
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the "
            "PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a payment "
            "method or ConfirmationToken.",
            code="payment_intent_unexpected_state",
        )
    charge = _charge(state, intent)
    intent["latest_charge"] = charge["id"]
    if intent["payment_method"] == _DECLINED:
        raise _decline(state, intent, charge)
    state.emit("charge.succeeded", state.shelves["charge"].put(charge).body)
    if intent["capture_method"] == "manual":
        intent.update(status="requires_capture", amount_capturable=intent["amount"])
        return state.change("payment_intent", intent)
    intent.update(status="succeeded", amount_received=intent["amount"])
    return state.change("payment_intent", intent, also=("succeeded",))


def _charge(state: State, intent: Json) -> Json:
    nobody = {"id": None, "address": None, "email": None, "name": None, "phone": None}
    customer = state.get("customer", intent["customer"]) if intent["customer"] else nobody
    card = charge_shapes.card("visa", "4242", state.dice.token(16), state.dice.number(0, 99))
    charge = charge_shapes.charge(
        state.new_id(CHARGE), state.now(), state.livemode, customer, intent["currency"], intent["amount"], card
    )
    charge.update(
        description=intent["description"], payment_intent=intent["id"], payment_method=intent["payment_method"]
    )
    if intent["capture_method"] == "manual":
        charge.update(captured=False, amount_captured=0)
    return charge


def _decline(state: State, intent: Json, charge: Json) -> Refused:
    charge_shapes.decline(charge)
    state.emit("charge.failed", state.shelves["charge"].put(charge).body)
    refused = Refused("Your card was declined.", status=402, type="card_error", code="card_declined")
    refused.error |= {"charge": charge["id"], "decline_code": "generic_decline"}
    intent.update(status="requires_payment_method", payment_method=None, last_payment_error=dict(refused.error))
    state.change("payment_intent", intent, also=("payment_failed",))
    refused.error["payment_intent"] = intent
    return refused


def capture_intent(state: State, id: str, params: Params) -> Json:
    intent = state.get("payment_intent", id)
    given = read(params, {"amount_to_capture": integer})
    if intent["status"] != "requires_capture":
        raise _unexpected(intent, "capture")
    amount = given.get("amount_to_capture", intent["amount"])
    charge = state.get("charge", intent["latest_charge"])
    charge.update(captured=True, amount_captured=amount)
    state.emit("charge.captured", state.shelves["charge"].put(charge).body)
    intent.update(status="succeeded", amount_received=amount, amount_capturable=0)
    return state.change("payment_intent", intent, also=("succeeded",))


def cancel_intent(state: State, id: str, params: Params, *, type: str = "payment_intent") -> Json:
    intent = state.get(type, id)
    given = read(params, {"cancellation_reason": text})
    if intent["status"] not in _OPEN:
        raise _unexpected(intent, "cancel")
    intent.update(status="canceled", cancellation_reason=given.get("cancellation_reason"))
    if type == "payment_intent":
        intent.update(canceled_at=state.now(), amount_capturable=0)
    return state.change(type, intent, also=("canceled",))


def _unexpected(intent: Json, what: str) -> Refused:
    noun = {"payment_intent": "PaymentIntent", "setup_intent": "SetupIntent"}[intent["object"]]
    return Refused(
        f"You cannot {what} this {noun} because it has a status of {intent['status']}.",
        code=f"{intent['object']}_unexpected_state",
    )


def create_setup(state: State, params: Params) -> Json:
    given = read(params, {**_SETUP, "confirm": flag})
    intent = _blank(state, "setup_intent")
    intent.update(
        customer=_customer(state, given), latest_attempt=None, payment_method=None, status="requires_payment_method"
    )
    intent.update(_shown(given))
    if intent["payment_method"]:
        intent["status"] = "succeeded" if given.get("confirm") else "requires_confirmation"
    merge_metadata(intent, params)
    return state.create("setup_intent", intent)


def charge_to_refund(state: State, given: Json) -> Json:
    """The charge that a refund names, or that of its payment intent."""
    if given.get("charge"):
        return state.named("charge", given["charge"], "charge")
    if not given.get("payment_intent"):
        raise Refused(
            "One of the following params should be provided for this request: payment_intent or charge.",
            code="parameter_missing",
        )
    latest = state.named("payment_intent", given["payment_intent"], "payment_intent")["latest_charge"]
    if latest is None:
        raise Refused(
            f"This PaymentIntent ({given['payment_intent']}) does not have a successful charge to refund.",
            code="payment_intent_unexpected_state",
        )
    return state.get("charge", latest)
