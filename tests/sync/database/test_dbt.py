"""dbt's package for Stripe finds the tables and columns that it reads, with Stripe's values, through every upgrade.

The package is on no index of Python or JavaScript packages, so these tests check by name what its staging models read
(fivetran/dbt_stripe, the macros get_..._columns).
"""

from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql

from sync.database import dbt, schema
from sync.database.upgrade import _wanted_shape, upgrade_team
from sync.errors import SchemaError
from sync.object_types import OBJECT_TYPES
from sync.teams.database_access import DatabaseAccess
from sync.teams.mirrored_types import MirroredTypes
from tests.factories import CREATED, charge, customer, invoice, listed, price, subscription
from tests.sync.conftest import Team
from tests.sync.numbers.conftest import put

STAGING = {
    "account": (
        "business_profile_name business_profile_mcc business_type charges_enabled company_name company_phone country "
        "created default_currency details_submitted email id is_deleted metadata payouts_enabled type "
        "company_address_city company_address_country company_address_line_1 company_address_line_2 "
        "company_address_postal_code company_address_state"
    ),
    "balance_transaction": (
        "amount available_on connected_account_id created currency description exchange_rate fee id net payout_id "
        "reporting_category source status type"
    ),
    "card": (
        "account_id address_city address_country address_line_1 address_line_2 address_state address_zip brand country "
        "created customer_id funding id metadata name recipient wallet_type"
    ),
    "charge": (
        "amount amount_refunded application application_fee_amount balance_transaction_id bank_account_id "
        "calculated_statement_descriptor captured card_id connected_account_id created currency customer_id description "
        "destination failure_code failure_message fraud_details_stripe_report fraud_details_user_report id invoice_id "
        "livemode metadata on_behalf_of outcome_network_status outcome_reason outcome_risk_level outcome_risk_score "
        "outcome_seller_message outcome_type paid payment_intent_id payment_method_id receipt_email receipt_number "
        "receipt_url refunded shipping_carrier shipping_name shipping_phone shipping_tracking_number source_id "
        "source_transfer statement_descriptor status transfer_data_destination transfer_group transfer_id "
        "shipping_address_city shipping_address_country shipping_address_line_1 shipping_address_line_2 "
        "shipping_address_postal_code shipping_address_state billing_detail_address_city billing_detail_address_country "
        "billing_detail_address_line1 billing_detail_address_line2 billing_detail_address_postal_code "
        "billing_detail_address_state billing_detail_email billing_detail_name billing_detail_phone"
    ),
    "coupon": (
        "amount_off created currency duration duration_in_months id livemode max_redemptions metadata name percent_off "
        "redeem_by times_redeemed valid"
    ),
    "credit_note": (
        "id amount created currency discount_amount subtotal total livemode memo metadata number pdf reason status type "
        "voided_at customer_balance_transaction invoice_id refund_id"
    ),
    "credit_note_line_item": (
        "id credit_note_id amount discount_amount description livemode quantity type unit_amount unit_amount_decimal"
    ),
    "customer": (
        "account_balance address_city address_country address_line_1 address_line_2 address_postal_code address_state "
        "balance bank_account_id created currency default_card_id delinquent description email id invoice_prefix "
        "invoice_settings_default_payment_method invoice_settings_footer is_deleted livemode metadata name phone "
        "shipping_address_city shipping_address_country shipping_address_line_1 shipping_address_line_2 "
        "shipping_address_postal_code shipping_address_state shipping_carrier shipping_name shipping_phone "
        "shipping_tracking_number source_id tax_exempt tax_info_tax_id tax_info_type tax_info_verification_status "
        "tax_info_verification_verified_name"
    ),
    "discount": (
        "id type type_id amount checkout_session_id checkout_session_line_item_id coupon_id credit_note_line_item_id "
        "customer_id invoice_id invoice_item_id promotion_code subscription_id end start"
    ),
    "dispute": (
        "amount balance_transaction charge_id connected_account_id created currency evidence_details_due_by "
        "evidence_details_has_evidence evidence_details_past_due evidence_details_submission_count id "
        "is_charge_refundable livemode metadata reason status evidence_access_activity_log evidence_billing_address "
        "evidence_cancellation_policy evidence_cancellation_policy_disclosure evidence_cancellation_rebuttal "
        "evidence_customer_communication evidence_customer_email_address evidence_customer_name "
        "evidence_customer_purchase_ip evidence_customer_signature evidence_duplicate_charge_documentation "
        "evidence_duplicate_charge_explanation evidence_duplicate_charge_id evidence_product_description "
        "evidence_receipt evidence_refund_policy evidence_refund_policy_disclosure evidence_refund_refusal_explanation "
        "evidence_service_date evidence_service_documentation evidence_shipping_address evidence_shipping_carrier "
        "evidence_shipping_date evidence_shipping_documentation evidence_shipping_tracking_number "
        "evidence_uncategorized_file evidence_uncategorized_text"
    ),
    "fee": ("amount application balance_transaction_id connected_account_id currency description index type"),
    "invoice": (
        "amount_due amount_paid amount_remaining application_fee_amount post_payment_credit_notes_amount "
        "pre_payment_credit_notes_amount attempt_count attempted auto_advance billing billing_reason charge_id created "
        "currency customer_id date default_source_id description due_date ending_balance finalized_at footer "
        "hosted_invoice_url id invoice_pdf is_deleted livemode metadata next_payment_attempt number paid "
        "default_payment_method_id payment_intent_id subscription_id period_end period_start receipt_number "
        "starting_balance statement_descriptor status status_transitions_finalized_at "
        "status_transitions_marked_uncollectible_at status_transitions_paid_at status_transitions_voided_at "
        "subscription_proration_date subtotal tax tax_percent threshold_reason_amount_gte total webhooks_delivered_at"
    ),
    "invoice_line_item": (
        "amount currency description discountable id invoice_id invoice_item_id livemode metadata period_end "
        "period_start plan_id price_id proration quantity subscription_id subscription_item_id type unique_id "
        "unit_amount_excluding_tax"
    ),
    "payment_intent": (
        "amount amount_capturable amount_received application application_fee_amount canceled_at cancellation_reason "
        "capture_method confirmation_method created currency customer_id description id last_payment_error_charge_id "
        "last_payment_error_code last_payment_error_decline_code last_payment_error_doc_url last_payment_error_message "
        "last_payment_error_param last_payment_error_source_id last_payment_error_type livemode metadata on_behalf_of "
        "payment_method_id receipt_email source_id statement_descriptor status transfer_data_destination transfer_group"
    ),
    "payment_method_card": (
        "brand charge_id funding payment_method_id type wallet_type three_d_secure_authentication_flow "
        "three_d_secure_result three_d_secure_result_reason three_d_secure_version"
    ),
    "payment_method": (
        "billing_detail_address_city billing_detail_address_country billing_detail_address_line_1 "
        "billing_detail_address_line_2 billing_detail_address_postal_code billing_detail_address_state "
        "billing_detail_email billing_detail_name billing_detail_phone created customer_id id livemode metadata type"
    ),
    "payout": (
        "amount arrival_date automatic balance_transaction_id connected_account_id created currency description "
        "destination_bank_account_id destination_card_id failure_balance_transaction_id failure_code failure_message id "
        "livemode metadata method source_type statement_descriptor status type"
    ),
    "payout_balance_transaction": ("payout_id balance_transaction_id"),
    "plan": (
        "active aggregate_usage amount billing_scheme created currency id interval interval_count is_deleted livemode "
        "metadata nickname product_id trial_period_days usage_type"
    ),
    "price": (
        "active billing_scheme created currency id is_deleted livemode metadata nickname product_id "
        "recurring_aggregate_usage recurring_interval recurring_interval_count recurring_usage_type unit_amount "
        "unit_amount_decimal"
    ),
    "product": (
        "id active attributes caption created deactivate_on description images is_deleted livemode name shippable "
        "statement_descriptor type unit_label updated url fivetran_synced"
    ),
    "refund": (
        "amount balance_transaction_id charge_id payment_intent_id created currency description "
        "failure_balance_transaction_id failure_reason id metadata reason receipt_number status"
    ),
    "subscription": (
        "_fivetran_active application_fee_percent billing billing_cycle_anchor billing_threshold_amount_gte "
        "billing_threshold_reset_billing_cycle_anchor cancel_at cancel_at_period_end canceled_at created "
        "current_period_end current_period_start customer_id days_until_due default_source_id ended_at id "
        "latest_invoice_id default_payment_method_id pending_setup_intent_id livemode metadata quantity start_date "
        "status tax_percent trial_end trial_start pause_collection_behavior pause_collection_resumes_at"
    ),
    "subscription_discount": (
        "checkout_session coupon_id customer_id id invoice_id invoice_item_id subscription_id end start"
    ),
    "subscription_item": (
        "created current_period_end current_period_start id metadata plan_id quantity subscription_id"
    ),
    "transfer": (
        "amount amount_reversed balance_transaction_id created currency description destination destination_payment "
        "destination_payment_id id livemode metadata reversed source_transaction source_transaction_id source_type "
        "transfer_group"
    ),
}
_TIMES = {
    "created",
    "current_period_start",
    "current_period_end",
    "available_on",
    "arrival_date",
    "canceled_at",
    "start_date",
}


@pytest.fixture
def viewed(team: Team):
    """A team with the views, which mirrors all types."""
    with team.connection.transaction():
        schema.make_dbt_views(team.connection, team.id)
    yield team
    schema.drop_dbt_views(team.connection, team.id)
    with team.connection.transaction():
        schema.ensure_tables(team.connection, team.id, OBJECT_TYPES.values())


def columns(team: Team, view: str) -> dict[str, str]:
    name = dbt.views_schema(team.schema)
    rows = team.connection.execute(
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0",
        (f"{name}.{view}",),
    )
    return dict(rows.fetchall())


def read(team: Team, view: str, *names: str) -> list[tuple]:
    of_view = sql.Identifier(dbt.views_schema(team.schema), view)
    shown = sql.SQL(", ").join(map(sql.Identifier, names))
    return team.connection.execute(sql.SQL("SELECT {} FROM {} ORDER BY 1").format(shown, of_view)).fetchall()


def test_the_views_are_the_packages_tables():
    assert set(dbt.VIEWS) == set(STAGING)


@pytest.mark.parametrize("view", STAGING)
def test_a_view_has_the_columns_that_staging_reads(viewed: Team, view: str) -> None:
    found = columns(viewed, view)

    assert set(STAGING[view].split()) | {"_fivetran_synced"} == set(found)
    assert {kind for name, kind in found.items() if name in _TIMES} <= {"timestamp with time zone"}
    assert {kind for name, kind in found.items() if "amount" in name and "decimal" not in name} <= {"bigint", "text"}


@pytest.mark.parametrize("view", STAGING)
def test_a_view_unpacks_an_object_a_few_times_and_not_for_each_column(view: str) -> None:
    """With fifty expressions on `raw`, a thousand invoices took six seconds."""
    text = dbt.statement(view)

    assert text.count("object.raw") <= 4 * text.count("AS object")


@pytest.mark.parametrize("view", STAGING)
def test_a_view_can_be_read_whatever_its_rows_hold(viewed: Team, view: str) -> None:
    for object_type in OBJECT_TYPES.values():
        odd = {
            "id": "odd",
            "lines": 1,
            "items": {"data": "x"},
            "discounts": {},
            "discount": 7,
            "amount": "x",
            "created": -1,
        }
        put(viewed, object_type.name, [odd])

    read(viewed, view, *columns(viewed, view))


def test_stripes_values_are_in_the_columns(viewed: Team) -> None:
    created = datetime.fromtimestamp(CREATED, UTC)
    put(
        viewed, "customer", [customer("cus_1", address={"city": "Paris", "line1": "1 Rue"}, livemode=False, balance=-5)]
    )
    put(viewed, "price", [price("price_1")])
    item = {"id": "si_1", "price": {"id": "price_1"}, "quantity": 3, "current_period_end": CREATED}
    off = {"id": "di_1", "object": "discount", "coupon": {"id": "half"}, "start": CREATED, "end": None}
    put(
        viewed,
        "subscription",
        [subscription("sub_1", items=listed(item), discounts=[off], collection_method="send_invoice")],
    )
    line = {
        "id": "il_1",
        "amount": 700,
        "period": {"start": CREATED, "end": CREATED},
        "pricing": {"price_details": {"price": "price_1"}},
        "parent": {"type": "subscription_item_details", "subscription_item_details": {"subscription": "sub_1"}},
    }
    paid = invoice("in_1", status="paid", lines=listed(line), total_taxes=[{"amount": 3}, {"amount": 4}])
    put(viewed, "invoice", [paid | {"tax": None, "paid": None}])
    put(viewed, "charge", [charge("ch_1", payment_intent="pi_1", invoice=None)])
    put(viewed, "invoice_payment", [{"id": "inpay_1", "invoice": "in_1", "payment": {"payment_intent": "pi_1"}}])
    fees = [{"amount": 30, "type": "stripe_fee"}, {"amount": 1, "type": "tax"}]
    put(viewed, "balance_transaction", [{"id": "txn_1", "amount": 100, "fee": 31, "fee_details": fees}])

    assert read(
        viewed, "customer", "id", "created", "address_city", "address_line_1", "balance", "livemode", "is_deleted"
    ) == [("cus_1", created, "Paris", "1 Rue", -5, False, False)]
    assert read(viewed, "price", "id", "unit_amount", "recurring_interval", "product_id") == [
        ("price_1", 4900, "month", "prod_1")
    ]
    assert read(viewed, "subscription", "id", "billing", "quantity", "current_period_end", "_fivetran_active") == [
        ("sub_1", "send_invoice", 3, created, True)
    ]
    assert read(viewed, "subscription_item", "id", "subscription_id", "plan_id", "quantity") == [
        ("si_1", "sub_1", "price_1", 3)
    ]
    assert read(viewed, "subscription_discount", "id", "coupon_id", "subscription_id", "start") == [
        ("di_1", "half", "sub_1", created)
    ]
    assert ("di_1", "subscription", "sub_1", "cus_1") in read(
        viewed, "discount", "id", "type", "type_id", "customer_id"
    )
    assert read(viewed, "invoice", "id", "paid", "tax", "status") == [("in_1", True, 7, "paid")]
    assert read(viewed, "invoice_line_item", "id", "invoice_id", "price_id", "subscription_id", "type", "amount") == [
        ("il_1", "in_1", "price_1", "sub_1", "subscription", 700)
    ]
    assert read(viewed, "charge", "id", "invoice_id", "payment_intent_id") == [("ch_1", "in_1", "pi_1")]
    assert read(viewed, "fee", "balance_transaction_id", "index", "amount", "type") == [
        ("txn_1", 0, 30, "stripe_fee"),
        ("txn_1", 1, 1, "tax"),
    ]
    assert read(viewed, "account", "id") == [("acct_1Test",)]


def test_what_a_payout_is_made_of_is_told_from_both_ends(viewed: Team) -> None:
    put(viewed, "payout", [{"id": "po_1", "automatic": True}])
    put(viewed, "balance_transaction", [{"id": "txn_1"}, {"id": "txn_2"}])
    table = sql.Identifier(viewed.schema, "payout_balance_transactions")
    viewed.connection.execute(sql.SQL("INSERT INTO {} VALUES ('po_1', 'txn_1')").format(table))

    assert read(viewed, "payout_balance_transaction", "payout_id", "balance_transaction_id") == [("po_1", "txn_1")]
    assert read(viewed, "balance_transaction", "id", "payout_id") == [("txn_1", "po_1"), ("txn_2", None)]


def test_the_views_of_a_team_that_stops_mirroring_payouts_stay(viewed: Team) -> None:
    put(viewed, "balance_transaction", [{"id": "txn_1"}])

    with viewed.connection.transaction():
        schema.drop_table(viewed.connection, viewed.id, OBJECT_TYPES["payout"])

    assert read(viewed, "payout_balance_transaction", "payout_id") == []
    assert read(viewed, "balance_transaction", "id", "payout_id") == [("txn_1", None)]


def test_what_stripe_deleted_is_marked_or_gone(viewed: Team) -> None:
    put(viewed, "customer", [customer("cus_1")])
    put(viewed, "charge", [charge("ch_1")])
    for table in ("customers", "charges"):
        viewed.connection.execute(
            sql.SQL("UPDATE {} SET deleted_at = now()").format(sql.Identifier(viewed.schema, table))
        )

    assert read(viewed, "customer", "id", "is_deleted") == [("cus_1", True)]
    assert read(viewed, "charge", "id") == []


# Kept -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def model(viewed: Team):
    """A view of a person's own on one of ours, as dbt's staging makes them."""
    name = f"models_of_{viewed.id}"
    viewed.connection.execute(f"CREATE SCHEMA {name}")
    for view in ("charge", "refund"):
        viewed.connection.execute(
            f"CREATE VIEW {name}.{view} AS SELECT * FROM {dbt.views_schema(viewed.schema)}.{view}"  # noqa: S608 (ours)
        )
    yield name
    viewed.connection.execute(f"DROP SCHEMA {name} CASCADE")


def rows(team: Team, name: str) -> list[tuple]:
    return team.connection.execute(sql.SQL("SELECT id FROM {}.charge").format(sql.Identifier(name))).fetchall()


def test_made_again_nothing_changes(viewed: Team) -> None:
    with viewed.connection.transaction():
        assert dbt.make_views(viewed.connection, viewed.schema) == 0


def test_an_upgrade_that_rebuilds_their_tables_keeps_them_and_the_models_on_them(viewed: Team, model: str) -> None:
    MirroredTypes(viewed.connection, viewed.id).add(OBJECT_TYPES)
    put(viewed, "charge", [charge("ch_1")])
    viewed.connection.execute(
        f"COMMENT ON SCHEMA {viewed.schema} IS 'billstack 1'"
    )  # before it, all tables are rebuilt
    before = viewed.connection.execute("SELECT %s::regclass::oid", (f"{viewed.schema}.charges",)).fetchone()

    upgrade_team(viewed.connection, viewed.id, _wanted_shape(viewed.connection))

    assert viewed.connection.execute("SELECT %s::regclass::oid", (f"{viewed.schema}.charges",)).fetchone() != before
    assert rows(viewed, model) == [("ch_1",)]
    put(viewed, "charge", [charge("ch_2")])
    assert len(rows(viewed, model)) == 2


def test_a_type_that_is_purged_and_mirrored_again_keeps_its_view(viewed: Team, model: str) -> None:
    put(viewed, "refund", [{"id": "re_1"}])
    with viewed.connection.transaction():
        schema.drop_table(viewed.connection, viewed.id, OBJECT_TYPES["refund"])
    assert read(viewed, "refund", "id") == []

    with viewed.connection.transaction():
        schema.ensure_tables(viewed.connection, viewed.id, [OBJECT_TYPES["refund"]])
    put(viewed, "refund", [{"id": "re_2"}])

    assert read(viewed, "refund", "id") == [("re_2",)]


def test_something_else_of_that_name_is_not_replaced(viewed: Team) -> None:
    name = dbt.views_schema(viewed.schema)
    viewed.connection.execute(f"DROP VIEW {name}.fee")
    viewed.connection.execute(f"CREATE TABLE {name}.fee (id text)")

    with pytest.raises(SchemaError, match="fee is no view of BillStack"), viewed.connection.transaction():
        schema.make_dbt_views(viewed.connection, viewed.id)


def test_a_team_without_a_mirror_gets_none(team: Team) -> None:
    with pytest.raises(SchemaError, match="has no mirror yet"):
        schema.make_dbt_views(team.connection, "team_unknown")


@pytest.mark.parametrize("first", ["role", "views"])
def test_the_teams_reader_reads_them(team: Team, first: str) -> None:
    access = DatabaseAccess(team.connection, team.id)
    steps = [access.open, lambda: schema.make_dbt_views(team.connection, team.id)]
    for step in steps if first == "role" else reversed(steps):
        step()
    put(team, "charge", [charge("ch_1")])
    try:
        with team.connection.transaction(force_rollback=True):
            team.connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(access.role)))
            assert read(team, "charge", "id") == [("ch_1",)]
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                team.connection.execute(f"CREATE TABLE {dbt.views_schema(team.schema)}.mine ()")
    finally:
        access.remove()
        schema.drop_dbt_views(team.connection, team.id)
