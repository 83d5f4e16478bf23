-- The views that dbt's package for Stripe reads, by its names for tables and columns: one schema a team, on demand
-- (sync/database/dbt.py). A view reads `raw`, so it is the same whatever other columns its table has. A table's name in
-- braces is that table, or an empty one if the team does not mirror the type. jsonb_to_record reads an object once;
-- each expression on `raw` would unpack all of it again.

-- name: account
-- The mirror has no account objects. What it knows is the account's id and name.
CREATE OR REPLACE VIEW {dbt}.account AS
SELECT
    connections.account_id AS id,
    connections.connected_at AS _fivetran_synced,
    connections.account_name AS business_profile_name,
    NULL::text AS business_profile_mcc,
    NULL::text AS business_type,
    NULL::boolean AS charges_enabled,
    NULL::text AS company_address_city,
    NULL::text AS company_address_country,
    NULL::text AS company_address_line_1,
    NULL::text AS company_address_line_2,
    NULL::text AS company_address_postal_code,
    NULL::text AS company_address_state,
    NULL::text AS company_name,
    NULL::text AS company_phone,
    NULL::text AS country,
    NULL::timestamptz AS created,
    NULL::text AS default_currency,
    NULL::boolean AS details_submitted,
    NULL::text AS email,
    false AS is_deleted,
    NULL::text AS metadata,
    NULL::boolean AS payouts_enabled,
    NULL::text AS type
FROM billstack.connections
WHERE connections.team_id = {team_id};

-- name: balance_transaction
CREATE OR REPLACE VIEW {dbt}.balance_transaction AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_bigint(whole.amount) AS amount,
    billstack.as_time(whole.available_on) AS available_on,
    NULL::text AS connected_account_id,
    billstack.as_time(whole.created) AS created,
    billstack.as_text(whole.currency) AS currency,
    billstack.as_text(whole.description) AS description,
    billstack.as_decimal(whole.exchange_rate) AS exchange_rate,
    billstack.as_bigint(whole.fee) AS fee,
    billstack.as_bigint(whole.net) AS net,
    paid_out.payout AS payout_id,
    billstack.as_text(whole.reporting_category) AS reporting_category,
    billstack.as_id(whole.source) AS source,
    billstack.as_text(whole.status) AS status,
    billstack.as_text(whole.type) AS type
FROM {balance_transactions} AS object
CROSS JOIN LATERAL jsonb_to_record(object.raw) AS whole (
    amount jsonb, available_on jsonb, created jsonb, currency jsonb, description jsonb, exchange_rate jsonb, fee
    jsonb, net jsonb, reporting_category jsonb, source jsonb, status jsonb, type jsonb
)
LEFT JOIN (
    SELECT balance_transaction, min(payout) AS payout
    FROM {payout_balance_transactions} AS paid_out
    GROUP BY balance_transaction
) AS paid_out ON paid_out.balance_transaction = object.id
WHERE object.deleted_at IS NULL;

-- name: card
-- Cards of the old kind, as charges name them. Cards of today are payment methods.
CREATE OR REPLACE VIEW {dbt}.card AS
SELECT DISTINCT ON (billstack.as_text(card -> 'id'))
    billstack.as_text(card -> 'id') AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_id(card -> 'account') AS account_id,
    billstack.as_text(card -> 'address_city') AS address_city,
    billstack.as_text(card -> 'address_country') AS address_country,
    billstack.as_text(card -> 'address_line1') AS address_line_1,
    billstack.as_text(card -> 'address_line2') AS address_line_2,
    billstack.as_text(card -> 'address_state') AS address_state,
    billstack.as_text(card -> 'address_zip') AS address_zip,
    billstack.as_text(card -> 'brand') AS brand,
    billstack.as_text(card -> 'country') AS country,
    NULL::timestamptz AS created,
    billstack.as_id(card -> 'customer') AS customer_id,
    billstack.as_text(card -> 'funding') AS funding,
    billstack.as_object(card -> 'metadata')::text AS metadata,
    billstack.as_text(card -> 'name') AS name,
    NULL::text AS recipient,
    billstack.as_text(card -> 'tokenization_method') AS wallet_type
FROM {charges} AS object
CROSS JOIN LATERAL (SELECT billstack.as_object(object.raw -> 'source') AS card) AS source
WHERE card ->> 'object' = 'card'
ORDER BY billstack.as_text(card -> 'id'), object.as_of DESC;

-- name: charge
-- Since 2025-03-31.basil only an invoice payment names both the charge's payment and its invoice.
CREATE OR REPLACE VIEW {dbt}.charge AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_bigint(whole.amount) AS amount,
    billstack.as_bigint(whole.amount_refunded) AS amount_refunded,
    billstack.as_id(whole.application) AS application,
    billstack.as_bigint(whole.application_fee_amount) AS application_fee_amount,
    billstack.as_id(whole.balance_transaction) AS balance_transaction_id,
    NULL::text AS bank_account_id,
    billstack.as_text(whole.calculated_statement_descriptor) AS calculated_statement_descriptor,
    billstack.as_boolean(whole.captured) AS captured,
    CASE
        WHEN billstack.as_text(whole.source -> 'object') = 'card'
        THEN billstack.as_id(whole.source)
    END AS card_id,
    NULL::text AS connected_account_id,
    billstack.as_time(whole.created) AS created,
    billstack.as_text(whole.currency) AS currency,
    billstack.as_id(whole.customer) AS customer_id,
    billstack.as_text(whole.description) AS description,
    billstack.as_id(whole.destination) AS destination,
    billstack.as_text(whole.failure_code) AS failure_code,
    billstack.as_text(whole.failure_message) AS failure_message,
    billstack.as_text(whole.fraud_details -> 'stripe_report') AS fraud_details_stripe_report,
    billstack.as_text(whole.fraud_details -> 'user_report') AS fraud_details_user_report,
    coalesce(billstack.as_id(whole.invoice), paid.invoice) AS invoice_id,
    billstack.as_boolean(whole.livemode) AS livemode,
    billstack.as_object(whole.metadata)::text AS metadata,
    billstack.as_id(whole.on_behalf_of) AS on_behalf_of,
    billstack.as_text(whole.outcome -> 'network_status') AS outcome_network_status,
    billstack.as_text(whole.outcome -> 'reason') AS outcome_reason,
    billstack.as_text(whole.outcome -> 'risk_level') AS outcome_risk_level,
    billstack.as_bigint(whole.outcome -> 'risk_score') AS outcome_risk_score,
    billstack.as_text(whole.outcome -> 'seller_message') AS outcome_seller_message,
    billstack.as_text(whole.outcome -> 'type') AS outcome_type,
    billstack.as_boolean(whole.paid) AS paid,
    billstack.as_id(whole.payment_intent) AS payment_intent_id,
    billstack.as_id(whole.payment_method) AS payment_method_id,
    billstack.as_text(whole.receipt_email) AS receipt_email,
    billstack.as_text(whole.receipt_number) AS receipt_number,
    billstack.as_text(whole.receipt_url) AS receipt_url,
    billstack.as_boolean(whole.refunded) AS refunded,
    billstack.as_text(whole.shipping #> ARRAY['address', 'city']) AS shipping_address_city,
    billstack.as_text(whole.shipping #> ARRAY['address', 'country']) AS shipping_address_country,
    billstack.as_text(whole.shipping #> ARRAY['address', 'line1']) AS shipping_address_line_1,
    billstack.as_text(whole.shipping #> ARRAY['address', 'line2']) AS shipping_address_line_2,
    billstack.as_text(whole.shipping #> ARRAY['address', 'postal_code']) AS shipping_address_postal_code,
    billstack.as_text(whole.shipping #> ARRAY['address', 'state']) AS shipping_address_state,
    billstack.as_text(whole.shipping -> 'carrier') AS shipping_carrier,
    billstack.as_text(whole.shipping -> 'name') AS shipping_name,
    billstack.as_text(whole.shipping -> 'phone') AS shipping_phone,
    billstack.as_text(whole.shipping -> 'tracking_number') AS shipping_tracking_number,
    billstack.as_id(whole.source) AS source_id,
    billstack.as_id(whole.source_transfer) AS source_transfer,
    billstack.as_text(whole.statement_descriptor) AS statement_descriptor,
    billstack.as_text(whole.status) AS status,
    billstack.as_id(whole.transfer_data -> 'destination') AS transfer_data_destination,
    billstack.as_text(whole.transfer_group) AS transfer_group,
    billstack.as_id(whole.transfer) AS transfer_id,
    billstack.as_text(whole.billing_details #> ARRAY['address', 'city']) AS billing_detail_address_city,
    billstack.as_text(whole.billing_details #> ARRAY['address', 'country']) AS billing_detail_address_country,
    billstack.as_text(whole.billing_details #> ARRAY['address', 'line1']) AS billing_detail_address_line1,
    billstack.as_text(whole.billing_details #> ARRAY['address', 'line2']) AS billing_detail_address_line2,
    billstack.as_text(whole.billing_details #> ARRAY['address', 'postal_code']) AS billing_detail_address_postal_code,
    billstack.as_text(whole.billing_details #> ARRAY['address', 'state']) AS billing_detail_address_state,
    billstack.as_text(whole.billing_details -> 'email') AS billing_detail_email,
    billstack.as_text(whole.billing_details -> 'name') AS billing_detail_name,
    billstack.as_text(whole.billing_details -> 'phone') AS billing_detail_phone
FROM {charges} AS object
CROSS JOIN LATERAL jsonb_to_record(object.raw) AS whole (
    amount jsonb, amount_refunded jsonb, application jsonb, application_fee_amount jsonb, balance_transaction jsonb,
    billing_details jsonb, calculated_statement_descriptor jsonb, captured jsonb, created jsonb, currency jsonb,
    customer jsonb, description jsonb, destination jsonb, failure_code jsonb, failure_message jsonb, fraud_details
    jsonb, invoice jsonb, livemode jsonb, metadata jsonb, on_behalf_of jsonb, outcome jsonb, paid jsonb,
    payment_intent jsonb, payment_method jsonb, receipt_email jsonb, receipt_number jsonb, receipt_url jsonb,
    refunded jsonb, shipping jsonb, source jsonb, source_transfer jsonb, statement_descriptor jsonb, status jsonb,
    transfer jsonb, transfer_data jsonb, transfer_group jsonb
)
LEFT JOIN (
    SELECT DISTINCT ON (billstack.as_id(payment.raw #> ARRAY['payment', 'payment_intent']))
        billstack.as_id(payment.raw #> ARRAY['payment', 'payment_intent']) AS payment_intent,
        billstack.as_id(payment.raw -> 'invoice') AS invoice
    FROM {invoice_payments} AS payment
    WHERE payment.deleted_at IS NULL
    ORDER BY billstack.as_id(payment.raw #> ARRAY['payment', 'payment_intent']), payment.id
) AS paid ON paid.payment_intent = billstack.as_id(whole.payment_intent)
WHERE object.deleted_at IS NULL;

-- name: coupon
CREATE OR REPLACE VIEW {dbt}.coupon AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_bigint(whole.amount_off) AS amount_off,
    billstack.as_time(whole.created) AS created,
    billstack.as_text(whole.currency) AS currency,
    billstack.as_text(whole.duration) AS duration,
    billstack.as_bigint(whole.duration_in_months) AS duration_in_months,
    billstack.as_boolean(whole.livemode) AS livemode,
    billstack.as_bigint(whole.max_redemptions) AS max_redemptions,
    billstack.as_object(whole.metadata)::text AS metadata,
    billstack.as_text(whole.name) AS name,
    billstack.as_decimal(whole.percent_off) AS percent_off,
    billstack.as_time(whole.redeem_by) AS redeem_by,
    billstack.as_bigint(whole.times_redeemed) AS times_redeemed,
    billstack.as_boolean(whole.valid) AS valid
FROM {coupons} AS object
CROSS JOIN LATERAL jsonb_to_record(object.raw) AS whole (
    amount_off jsonb, created jsonb, currency jsonb, duration jsonb, duration_in_months jsonb, livemode jsonb,
    max_redemptions jsonb, metadata jsonb, name jsonb, percent_off jsonb, redeem_by jsonb, times_redeemed jsonb,
    valid jsonb
)
WHERE object.deleted_at IS NULL;

-- name: credit_note
CREATE OR REPLACE VIEW {dbt}.credit_note AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_bigint(whole.amount) AS amount,
    billstack.as_time(whole.created) AS created,
    billstack.as_text(whole.currency) AS currency,
    billstack.as_bigint(whole.discount_amount) AS discount_amount,
    billstack.as_bigint(whole.subtotal) AS subtotal,
    billstack.as_bigint(whole.total) AS total,
    billstack.as_boolean(whole.livemode) AS livemode,
    billstack.as_text(whole.memo) AS memo,
    billstack.as_object(whole.metadata)::text AS metadata,
    billstack.as_text(whole.number) AS number,
    billstack.as_text(whole.pdf) AS pdf,
    billstack.as_text(whole.reason) AS reason,
    billstack.as_text(whole.status) AS status,
    billstack.as_text(whole.type) AS type,
    billstack.as_time(whole.voided_at) AS voided_at,
    billstack.as_id(whole.customer_balance_transaction) AS customer_balance_transaction,
    billstack.as_id(whole.invoice) AS invoice_id,
    coalesce(
        billstack.as_id(whole.refund),
        billstack.as_id(whole.refunds #> ARRAY['0', 'refund'])
    ) AS refund_id
FROM {credit_notes} AS object
CROSS JOIN LATERAL jsonb_to_record(object.raw) AS whole (
    amount jsonb, created jsonb, currency jsonb, customer_balance_transaction jsonb, discount_amount jsonb, invoice
    jsonb, livemode jsonb, memo jsonb, metadata jsonb, number jsonb, pdf jsonb, reason jsonb, refund jsonb, refunds
    jsonb, status jsonb, subtotal jsonb, total jsonb, type jsonb, voided_at jsonb
)
WHERE object.deleted_at IS NULL;

-- name: credit_note_line_item
CREATE OR REPLACE VIEW {dbt}.credit_note_line_item AS
SELECT
    billstack.as_text(line -> 'id') AS id,
    object.synced_at AS _fivetran_synced,
    object.id AS credit_note_id,
    billstack.as_bigint(line -> 'amount') AS amount,
    billstack.as_bigint(line -> 'discount_amount') AS discount_amount,
    billstack.as_text(line -> 'description') AS description,
    billstack.as_boolean(line -> 'livemode') AS livemode,
    billstack.as_bigint(line -> 'quantity') AS quantity,
    billstack.as_text(line -> 'type') AS type,
    billstack.as_bigint(line -> 'unit_amount') AS unit_amount,
    billstack.as_decimal(line -> 'unit_amount_decimal') AS unit_amount_decimal
FROM {credit_notes} AS object
CROSS JOIN LATERAL jsonb_array_elements(billstack.as_array(object.raw #> ARRAY['lines', 'data'])) AS line
WHERE object.deleted_at IS NULL;

-- name: customer
CREATE OR REPLACE VIEW {dbt}.customer AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    coalesce(
        billstack.as_bigint(whole.account_balance),
        billstack.as_bigint(whole.balance)
    ) AS account_balance,
    billstack.as_text(whole.address -> 'city') AS address_city,
    billstack.as_text(whole.address -> 'country') AS address_country,
    billstack.as_text(whole.address -> 'line1') AS address_line_1,
    billstack.as_text(whole.address -> 'line2') AS address_line_2,
    billstack.as_text(whole.address -> 'postal_code') AS address_postal_code,
    billstack.as_text(whole.address -> 'state') AS address_state,
    coalesce(
        billstack.as_bigint(whole.balance),
        billstack.as_bigint(whole.account_balance)
    ) AS balance,
    NULL::text AS bank_account_id,
    billstack.as_time(whole.created) AS created,
    billstack.as_text(whole.currency) AS currency,
    billstack.as_id(whole.default_source) AS default_card_id,
    billstack.as_boolean(whole.delinquent) AS delinquent,
    billstack.as_text(whole.description) AS description,
    billstack.as_text(whole.email) AS email,
    billstack.as_text(whole.invoice_prefix) AS invoice_prefix,
    billstack.as_id(whole.invoice_settings -> 'default_payment_method') AS invoice_settings_default_payment_method,
    billstack.as_text(whole.invoice_settings -> 'footer') AS invoice_settings_footer,
    object.deleted_at IS NOT NULL AS is_deleted,
    billstack.as_boolean(whole.livemode) AS livemode,
    billstack.as_object(whole.metadata)::text AS metadata,
    billstack.as_text(whole.name) AS name,
    billstack.as_text(whole.phone) AS phone,
    billstack.as_text(whole.shipping #> ARRAY['address', 'city']) AS shipping_address_city,
    billstack.as_text(whole.shipping #> ARRAY['address', 'country']) AS shipping_address_country,
    billstack.as_text(whole.shipping #> ARRAY['address', 'line1']) AS shipping_address_line_1,
    billstack.as_text(whole.shipping #> ARRAY['address', 'line2']) AS shipping_address_line_2,
    billstack.as_text(whole.shipping #> ARRAY['address', 'postal_code']) AS shipping_address_postal_code,
    billstack.as_text(whole.shipping #> ARRAY['address', 'state']) AS shipping_address_state,
    billstack.as_text(whole.shipping -> 'carrier') AS shipping_carrier,
    billstack.as_text(whole.shipping -> 'name') AS shipping_name,
    billstack.as_text(whole.shipping -> 'phone') AS shipping_phone,
    billstack.as_text(whole.shipping -> 'tracking_number') AS shipping_tracking_number,
    billstack.as_id(whole.default_source) AS source_id,
    billstack.as_text(whole.tax_exempt) AS tax_exempt,
    billstack.as_text(whole.tax_info -> 'tax_id') AS tax_info_tax_id,
    billstack.as_text(whole.tax_info -> 'type') AS tax_info_type,
    billstack.as_text(whole.tax_info_verification -> 'status') AS tax_info_verification_status,
    billstack.as_text(whole.tax_info_verification -> 'verified_name') AS tax_info_verification_verified_name
FROM {customers} AS object
CROSS JOIN LATERAL jsonb_to_record(object.raw) AS whole (
    account_balance jsonb, address jsonb, balance jsonb, created jsonb, currency jsonb, default_source jsonb,
    delinquent jsonb, description jsonb, email jsonb, invoice_prefix jsonb, invoice_settings jsonb, livemode jsonb,
    metadata jsonb, name jsonb, phone jsonb, shipping jsonb, tax_exempt jsonb, tax_info jsonb, tax_info_verification
    jsonb
);

-- name: discount
-- Of customers, subscriptions and invoices, where Stripe sends the discount and not only its id.
CREATE OR REPLACE VIEW {dbt}.discount AS
SELECT
    billstack.as_text(held.discount -> 'id') AS id,
    held.type AS type,
    held.id AS type_id,
    held.synced_at AS _fivetran_synced,
    held.amount AS amount,
    billstack.as_id(held.discount -> 'checkout_session') AS checkout_session_id,
    NULL::text AS checkout_session_line_item_id,
    coalesce(
        billstack.as_id(held.discount -> 'coupon'),
        billstack.as_id(held.discount #> ARRAY['source', 'coupon'])
    ) AS coupon_id,
    NULL::text AS credit_note_line_item_id,
    coalesce(billstack.as_id(held.discount -> 'customer'), held.customer) AS customer_id,
    coalesce(
        billstack.as_id(held.discount -> 'invoice'),
        CASE WHEN held.type = 'invoice' THEN held.id END
    ) AS invoice_id,
    billstack.as_id(held.discount -> 'invoice_item') AS invoice_item_id,
    billstack.as_id(held.discount -> 'promotion_code') AS promotion_code,
    coalesce(
        billstack.as_id(held.discount -> 'subscription'),
        CASE WHEN held.type = 'subscription' THEN held.id END
    ) AS subscription_id,
    billstack.as_time(held.discount -> 'end') AS "end",
    billstack.as_time(held.discount -> 'start') AS "start"
FROM (
    SELECT 'customer' AS type, object.id, object.synced_at, object.id AS customer, NULL::bigint AS amount,
        object.raw -> 'discount' AS discount
    FROM {customers} AS object
    WHERE object.deleted_at IS NULL
    UNION ALL
    SELECT 'subscription', object.id, object.synced_at, billstack.as_id(object.raw -> 'customer'), NULL, named.discount
    FROM {subscriptions} AS object
    CROSS JOIN LATERAL jsonb_array_elements(
        billstack.discounts_of(object.raw -> 'discounts', object.raw -> 'discount')
    ) AS named (discount)
    WHERE object.deleted_at IS NULL
    UNION ALL
    SELECT 'invoice', object.id, object.synced_at, billstack.as_id(object.raw -> 'customer'), (
            SELECT sum(billstack.as_bigint(taken -> 'amount'))::bigint
            FROM jsonb_array_elements(billstack.as_array(object.raw -> 'total_discount_amounts')) AS taken
            WHERE billstack.as_id(taken -> 'discount') = billstack.as_id(named.discount)
        ), named.discount
    FROM {invoices} AS object
    CROSS JOIN LATERAL jsonb_array_elements(
        billstack.discounts_of(object.raw -> 'discounts', object.raw -> 'discount')
    ) AS named (discount)
    WHERE object.deleted_at IS NULL
) AS held
WHERE jsonb_typeof(held.discount) = 'object';

-- name: dispute
CREATE OR REPLACE VIEW {dbt}.dispute AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_bigint(whole.amount) AS amount,
    coalesce(
        billstack.as_id(whole.balance_transaction),
        billstack.as_id(whole.balance_transactions -> '0')
    ) AS balance_transaction,
    billstack.as_id(whole.charge) AS charge_id,
    NULL::text AS connected_account_id,
    billstack.as_time(whole.created) AS created,
    billstack.as_text(whole.currency) AS currency,
    billstack.as_text(whole.evidence -> 'access_activity_log') AS evidence_access_activity_log,
    billstack.as_text(whole.evidence -> 'billing_address') AS evidence_billing_address,
    billstack.as_id(whole.evidence -> 'cancellation_policy') AS evidence_cancellation_policy,
    billstack.as_text(whole.evidence -> 'cancellation_policy_disclosure') AS evidence_cancellation_policy_disclosure,
    billstack.as_text(whole.evidence -> 'cancellation_rebuttal') AS evidence_cancellation_rebuttal,
    billstack.as_id(whole.evidence -> 'customer_communication') AS evidence_customer_communication,
    billstack.as_text(whole.evidence -> 'customer_email_address') AS evidence_customer_email_address,
    billstack.as_text(whole.evidence -> 'customer_name') AS evidence_customer_name,
    billstack.as_text(whole.evidence -> 'customer_purchase_ip') AS evidence_customer_purchase_ip,
    billstack.as_id(whole.evidence -> 'customer_signature') AS evidence_customer_signature,
    billstack.as_time(whole.evidence_details -> 'due_by') AS evidence_details_due_by,
    billstack.as_boolean(whole.evidence_details -> 'has_evidence') AS evidence_details_has_evidence,
    billstack.as_boolean(whole.evidence_details -> 'past_due') AS evidence_details_past_due,
    billstack.as_bigint(whole.evidence_details -> 'submission_count') AS evidence_details_submission_count,
    billstack.as_id(whole.evidence -> 'duplicate_charge_documentation') AS evidence_duplicate_charge_documentation,
    billstack.as_text(whole.evidence -> 'duplicate_charge_explanation') AS evidence_duplicate_charge_explanation,
    billstack.as_text(whole.evidence -> 'duplicate_charge_id') AS evidence_duplicate_charge_id,
    billstack.as_text(whole.evidence -> 'product_description') AS evidence_product_description,
    billstack.as_id(whole.evidence -> 'receipt') AS evidence_receipt,
    billstack.as_id(whole.evidence -> 'refund_policy') AS evidence_refund_policy,
    billstack.as_text(whole.evidence -> 'refund_policy_disclosure') AS evidence_refund_policy_disclosure,
    billstack.as_text(whole.evidence -> 'refund_refusal_explanation') AS evidence_refund_refusal_explanation,
    billstack.as_text(whole.evidence -> 'service_date') AS evidence_service_date,
    billstack.as_id(whole.evidence -> 'service_documentation') AS evidence_service_documentation,
    billstack.as_text(whole.evidence -> 'shipping_address') AS evidence_shipping_address,
    billstack.as_text(whole.evidence -> 'shipping_carrier') AS evidence_shipping_carrier,
    billstack.as_text(whole.evidence -> 'shipping_date') AS evidence_shipping_date,
    billstack.as_id(whole.evidence -> 'shipping_documentation') AS evidence_shipping_documentation,
    billstack.as_text(whole.evidence -> 'shipping_tracking_number') AS evidence_shipping_tracking_number,
    billstack.as_id(whole.evidence -> 'uncategorized_file') AS evidence_uncategorized_file,
    billstack.as_text(whole.evidence -> 'uncategorized_text') AS evidence_uncategorized_text,
    billstack.as_boolean(whole.is_charge_refundable) AS is_charge_refundable,
    billstack.as_boolean(whole.livemode) AS livemode,
    billstack.as_object(whole.metadata)::text AS metadata,
    billstack.as_text(whole.reason) AS reason,
    billstack.as_text(whole.status) AS status
FROM {disputes} AS object
CROSS JOIN LATERAL jsonb_to_record(object.raw) AS whole (
    amount jsonb, balance_transaction jsonb, balance_transactions jsonb, charge jsonb, created jsonb, currency
    jsonb, evidence jsonb, evidence_details jsonb, is_charge_refundable jsonb, livemode jsonb, metadata jsonb,
    reason jsonb, status jsonb
)
WHERE object.deleted_at IS NULL;

-- name: fee
CREATE OR REPLACE VIEW {dbt}.fee AS
SELECT
    object.synced_at AS _fivetran_synced,
    object.id AS balance_transaction_id,
    NULL::text AS connected_account_id,
    (detail.number - 1) AS index,
    billstack.as_bigint(detail.fee -> 'amount') AS amount,
    billstack.as_id(detail.fee -> 'application') AS application,
    billstack.as_text(detail.fee -> 'currency') AS currency,
    billstack.as_text(detail.fee -> 'description') AS description,
    billstack.as_text(detail.fee -> 'type') AS type
FROM {balance_transactions} AS object
CROSS JOIN LATERAL jsonb_array_elements(
    billstack.as_array(object.raw -> 'fee_details')
) WITH ORDINALITY AS detail (fee, number)
WHERE object.deleted_at IS NULL;

-- name: invoice
CREATE OR REPLACE VIEW {dbt}.invoice AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_bigint(whole.amount_due) AS amount_due,
    billstack.as_bigint(whole.amount_paid) AS amount_paid,
    billstack.as_bigint(whole.amount_remaining) AS amount_remaining,
    billstack.as_bigint(whole.application_fee_amount) AS application_fee_amount,
    billstack.as_bigint(whole.post_payment_credit_notes_amount) AS post_payment_credit_notes_amount,
    billstack.as_bigint(whole.pre_payment_credit_notes_amount) AS pre_payment_credit_notes_amount,
    billstack.as_bigint(whole.attempt_count) AS attempt_count,
    billstack.as_boolean(whole.attempted) AS attempted,
    billstack.as_boolean(whole.auto_advance) AS auto_advance,
    coalesce(
        billstack.as_text(whole.collection_method),
        billstack.as_text(whole.billing)
    ) AS billing,
    billstack.as_text(whole.billing_reason) AS billing_reason,
    coalesce(
        billstack.as_id(whole.charge),
        billstack.as_id(whole.payments #> ARRAY['data', '0', 'payment', 'charge'])
    ) AS charge_id,
    coalesce(billstack.as_time(whole.created), billstack.as_time(whole.date)) AS created,
    billstack.as_text(whole.currency) AS currency,
    billstack.as_id(whole.customer) AS customer_id,
    coalesce(billstack.as_time(whole.date), billstack.as_time(whole.created)) AS date,
    billstack.as_id(whole.default_source) AS default_source_id,
    billstack.as_text(whole.description) AS description,
    billstack.as_time(whole.due_date) AS due_date,
    billstack.as_bigint(whole.ending_balance) AS ending_balance,
    coalesce(
        billstack.as_time(whole.status_transitions -> 'finalized_at'),
        billstack.as_time(whole.finalized_at)
    ) AS finalized_at,
    billstack.as_text(whole.footer) AS footer,
    billstack.as_text(whole.hosted_invoice_url) AS hosted_invoice_url,
    billstack.as_text(whole.invoice_pdf) AS invoice_pdf,
    object.deleted_at IS NOT NULL AS is_deleted,
    billstack.as_boolean(whole.livemode) AS livemode,
    billstack.as_object(whole.metadata)::text AS metadata,
    billstack.as_time(whole.next_payment_attempt) AS next_payment_attempt,
    billstack.as_text(whole.number) AS number,
    coalesce(billstack.as_boolean(whole.paid), billstack.as_text(whole.status) = 'paid') AS paid,
    billstack.as_id(whole.default_payment_method) AS default_payment_method_id,
    coalesce(
        billstack.as_id(whole.payment_intent),
        billstack.as_id(whole.payments #> ARRAY['data', '0', 'payment', 'payment_intent'])
    ) AS payment_intent_id,
    coalesce(
        billstack.as_id(whole.subscription),
        billstack.as_id(whole.parent #> ARRAY['subscription_details', 'subscription'])
    ) AS subscription_id,
    billstack.as_time(whole.period_end) AS period_end,
    billstack.as_time(whole.period_start) AS period_start,
    billstack.as_text(whole.receipt_number) AS receipt_number,
    billstack.as_bigint(whole.starting_balance) AS starting_balance,
    billstack.as_text(whole.statement_descriptor) AS statement_descriptor,
    billstack.invoice_status(object.raw) AS status,
    billstack.as_time(whole.status_transitions -> 'finalized_at') AS status_transitions_finalized_at,
    billstack.as_time(whole.status_transitions -> 'marked_uncollectible_at')
        AS status_transitions_marked_uncollectible_at,
    billstack.as_time(whole.status_transitions -> 'paid_at') AS status_transitions_paid_at,
    billstack.as_time(whole.status_transitions -> 'voided_at') AS status_transitions_voided_at,
    billstack.as_bigint(whole.subscription_proration_date) AS subscription_proration_date,
    billstack.as_bigint(whole.subtotal) AS subtotal,
    coalesce(billstack.as_bigint(whole.tax), (
        SELECT sum(billstack.as_bigint(taxed -> 'amount'))::bigint
        FROM jsonb_array_elements(billstack.as_array(whole.total_taxes)) AS taxed
    )) AS tax,
    billstack.as_decimal(whole.tax_percent) AS tax_percent,
    billstack.as_bigint(whole.threshold_reason -> 'amount_gte') AS threshold_reason_amount_gte,
    billstack.as_bigint(whole.total) AS total,
    billstack.as_time(whole.webhooks_delivered_at) AS webhooks_delivered_at
FROM {invoices} AS object
CROSS JOIN LATERAL jsonb_to_record(object.raw) AS whole (
    amount_due jsonb, amount_paid jsonb, amount_remaining jsonb, application_fee_amount jsonb, attempt_count jsonb,
    attempted jsonb, auto_advance jsonb, billing jsonb, billing_reason jsonb, charge jsonb, collection_method jsonb,
    created jsonb, currency jsonb, customer jsonb, date jsonb, default_payment_method jsonb, default_source jsonb,
    description jsonb, due_date jsonb, ending_balance jsonb, finalized_at jsonb, footer jsonb, hosted_invoice_url
    jsonb, invoice_pdf jsonb, livemode jsonb, metadata jsonb, next_payment_attempt jsonb, number jsonb, paid jsonb,
    parent jsonb, payment_intent jsonb, payments jsonb, period_end jsonb, period_start jsonb,
    post_payment_credit_notes_amount jsonb, pre_payment_credit_notes_amount jsonb, receipt_number jsonb,
    starting_balance jsonb, statement_descriptor jsonb, status jsonb, status_transitions jsonb, subscription jsonb,
    subscription_proration_date jsonb, subtotal jsonb, tax jsonb, tax_percent jsonb, threshold_reason jsonb, total
    jsonb, total_taxes jsonb, webhooks_delivered_at jsonb
);

-- name: invoice_line_item
CREATE OR REPLACE VIEW {dbt}.invoice_line_item AS
SELECT
    billstack.as_text(line -> 'id') AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_bigint(line -> 'amount') AS amount,
    billstack.as_text(line -> 'currency') AS currency,
    billstack.as_text(line -> 'description') AS description,
    billstack.as_boolean(line -> 'discountable') AS discountable,
    object.id AS invoice_id,
    coalesce(
        billstack.as_id(line -> 'invoice_item'),
        billstack.as_id(line #> ARRAY['parent', 'invoice_item_details', 'invoice_item'])
    ) AS invoice_item_id,
    billstack.as_boolean(line -> 'livemode') AS livemode,
    billstack.as_object(line -> 'metadata')::text AS metadata,
    billstack.as_time(line #> ARRAY['period', 'end']) AS period_end,
    billstack.as_time(line #> ARRAY['period', 'start']) AS period_start,
    coalesce(
        billstack.as_id(line -> 'plan'),
        billstack.as_id(line -> 'price'),
        billstack.as_id(line #> ARRAY['pricing', 'price_details', 'price'])
    ) AS plan_id,
    coalesce(
        billstack.as_id(line -> 'price'),
        billstack.as_id(line #> ARRAY['pricing', 'price_details', 'price']),
        billstack.as_id(line -> 'plan')
    ) AS price_id,
    coalesce(
        billstack.as_boolean(line -> 'proration'),
        billstack.as_boolean(line #> ARRAY['parent', 'subscription_item_details', 'proration']),
        billstack.as_boolean(line #> ARRAY['parent', 'invoice_item_details', 'proration'])
    ) AS proration,
    billstack.as_bigint(line -> 'quantity') AS quantity,
    coalesce(
        billstack.as_id(line -> 'subscription'),
        billstack.as_id(line #> ARRAY['parent', 'subscription_item_details', 'subscription']),
        billstack.as_id(line #> ARRAY['parent', 'invoice_item_details', 'subscription'])
    ) AS subscription_id,
    coalesce(
        billstack.as_id(line -> 'subscription_item'),
        billstack.as_id(line #> ARRAY['parent', 'subscription_item_details', 'subscription_item'])
    ) AS subscription_item_id,
    coalesce(billstack.as_text(line -> 'type'), CASE billstack.as_text(line #> ARRAY['parent', 'type'])
        WHEN 'subscription_item_details' THEN 'subscription'
        WHEN 'invoice_item_details' THEN 'invoiceitem'
    END) AS type,
    billstack.as_text(line -> 'id') AS unique_id,
    billstack.as_text(line -> 'unit_amount_excluding_tax') AS unit_amount_excluding_tax
FROM {invoices} AS object
CROSS JOIN LATERAL jsonb_array_elements(billstack.as_array(object.raw #> ARRAY['lines', 'data'])) AS line
WHERE object.deleted_at IS NULL;

-- name: payment_intent
CREATE OR REPLACE VIEW {dbt}.payment_intent AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_bigint(whole.amount) AS amount,
    billstack.as_bigint(whole.amount_capturable) AS amount_capturable,
    billstack.as_bigint(whole.amount_received) AS amount_received,
    billstack.as_id(whole.application) AS application,
    billstack.as_bigint(whole.application_fee_amount) AS application_fee_amount,
    billstack.as_time(whole.canceled_at) AS canceled_at,
    billstack.as_text(whole.cancellation_reason) AS cancellation_reason,
    billstack.as_text(whole.capture_method) AS capture_method,
    billstack.as_text(whole.confirmation_method) AS confirmation_method,
    billstack.as_time(whole.created) AS created,
    billstack.as_text(whole.currency) AS currency,
    billstack.as_id(whole.customer) AS customer_id,
    billstack.as_text(whole.description) AS description,
    billstack.as_id(whole.last_payment_error -> 'charge') AS last_payment_error_charge_id,
    billstack.as_text(whole.last_payment_error -> 'code') AS last_payment_error_code,
    billstack.as_text(whole.last_payment_error -> 'decline_code') AS last_payment_error_decline_code,
    billstack.as_text(whole.last_payment_error -> 'doc_url') AS last_payment_error_doc_url,
    billstack.as_text(whole.last_payment_error -> 'message') AS last_payment_error_message,
    billstack.as_text(whole.last_payment_error -> 'param') AS last_payment_error_param,
    billstack.as_id(whole.last_payment_error -> 'source') AS last_payment_error_source_id,
    billstack.as_text(whole.last_payment_error -> 'type') AS last_payment_error_type,
    billstack.as_boolean(whole.livemode) AS livemode,
    billstack.as_object(whole.metadata)::text AS metadata,
    billstack.as_id(whole.on_behalf_of) AS on_behalf_of,
    billstack.as_id(whole.payment_method) AS payment_method_id,
    billstack.as_text(whole.receipt_email) AS receipt_email,
    billstack.as_id(whole.source) AS source_id,
    billstack.as_text(whole.statement_descriptor) AS statement_descriptor,
    billstack.as_text(whole.status) AS status,
    billstack.as_id(whole.transfer_data -> 'destination') AS transfer_data_destination,
    billstack.as_text(whole.transfer_group) AS transfer_group
FROM {payment_intents} AS object
CROSS JOIN LATERAL jsonb_to_record(object.raw) AS whole (
    amount jsonb, amount_capturable jsonb, amount_received jsonb, application jsonb, application_fee_amount jsonb,
    canceled_at jsonb, cancellation_reason jsonb, capture_method jsonb, confirmation_method jsonb, created jsonb,
    currency jsonb, customer jsonb, description jsonb, last_payment_error jsonb, livemode jsonb, metadata jsonb,
    on_behalf_of jsonb, payment_method jsonb, receipt_email jsonb, source jsonb, statement_descriptor jsonb, status
    jsonb, transfer_data jsonb, transfer_group jsonb
)
WHERE object.deleted_at IS NULL;

-- name: payment_method_card
CREATE OR REPLACE VIEW {dbt}.payment_method_card AS
SELECT
    object.synced_at AS _fivetran_synced,
    object.id AS charge_id,
    billstack.as_id(whole.payment_method) AS payment_method_id,
    billstack.as_text(whole.payment_method_details #> ARRAY['card', 'brand']) AS brand,
    billstack.as_text(whole.payment_method_details #> ARRAY['card', 'funding']) AS funding,
    billstack.as_text(whole.payment_method_details -> 'type') AS type,
    billstack.as_text(whole.payment_method_details #> ARRAY['card', 'wallet', 'type']) AS wallet_type,
    billstack.as_text(whole.payment_method_details #> ARRAY['card', 'three_d_secure', 'authentication_flow'])
        AS three_d_secure_authentication_flow,
    billstack.as_text(whole.payment_method_details #> ARRAY['card', 'three_d_secure', 'result'])
        AS three_d_secure_result,
    billstack.as_text(whole.payment_method_details #> ARRAY['card', 'three_d_secure', 'result_reason'])
        AS three_d_secure_result_reason,
    billstack.as_text(whole.payment_method_details #> ARRAY['card', 'three_d_secure', 'version'])
        AS three_d_secure_version
FROM {charges} AS object
CROSS JOIN LATERAL jsonb_to_record(object.raw) AS whole (
    payment_method jsonb, payment_method_details jsonb
)
WHERE object.deleted_at IS NULL AND jsonb_typeof(whole.payment_method_details -> 'card') = 'object';

-- name: payment_method
CREATE OR REPLACE VIEW {dbt}.payment_method AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_text(whole.billing_details #> ARRAY['address', 'city']) AS billing_detail_address_city,
    billstack.as_text(whole.billing_details #> ARRAY['address', 'country']) AS billing_detail_address_country,
    billstack.as_text(whole.billing_details #> ARRAY['address', 'line1']) AS billing_detail_address_line_1,
    billstack.as_text(whole.billing_details #> ARRAY['address', 'line2']) AS billing_detail_address_line_2,
    billstack.as_text(whole.billing_details #> ARRAY['address', 'postal_code']) AS billing_detail_address_postal_code,
    billstack.as_text(whole.billing_details #> ARRAY['address', 'state']) AS billing_detail_address_state,
    billstack.as_text(whole.billing_details -> 'email') AS billing_detail_email,
    billstack.as_text(whole.billing_details -> 'name') AS billing_detail_name,
    billstack.as_text(whole.billing_details -> 'phone') AS billing_detail_phone,
    billstack.as_time(whole.created) AS created,
    billstack.as_id(whole.customer) AS customer_id,
    billstack.as_boolean(whole.livemode) AS livemode,
    billstack.as_object(whole.metadata)::text AS metadata,
    billstack.as_text(whole.type) AS type
FROM {payment_methods} AS object
CROSS JOIN LATERAL jsonb_to_record(object.raw) AS whole (
    billing_details jsonb, created jsonb, customer jsonb, livemode jsonb, metadata jsonb, type jsonb
)
WHERE object.deleted_at IS NULL;

-- name: payout
CREATE OR REPLACE VIEW {dbt}.payout AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_bigint(whole.amount) AS amount,
    billstack.as_time(whole.arrival_date) AS arrival_date,
    billstack.as_boolean(whole.automatic) AS automatic,
    billstack.as_id(whole.balance_transaction) AS balance_transaction_id,
    NULL::text AS connected_account_id,
    billstack.as_time(whole.created) AS created,
    billstack.as_text(whole.currency) AS currency,
    billstack.as_text(whole.description) AS description,
    CASE
        WHEN billstack.as_text(whole.type) = 'bank_account'
        THEN billstack.as_id(whole.destination)
    END AS destination_bank_account_id,
    CASE
        WHEN billstack.as_text(whole.type) = 'card'
        THEN billstack.as_id(whole.destination)
    END AS destination_card_id,
    billstack.as_id(whole.failure_balance_transaction) AS failure_balance_transaction_id,
    billstack.as_text(whole.failure_code) AS failure_code,
    billstack.as_text(whole.failure_message) AS failure_message,
    billstack.as_boolean(whole.livemode) AS livemode,
    billstack.as_object(whole.metadata)::text AS metadata,
    billstack.as_text(whole.method) AS method,
    billstack.as_text(whole.source_type) AS source_type,
    billstack.as_text(whole.statement_descriptor) AS statement_descriptor,
    billstack.as_text(whole.status) AS status,
    billstack.as_text(whole.type) AS type
FROM {payouts} AS object
CROSS JOIN LATERAL jsonb_to_record(object.raw) AS whole (
    amount jsonb, arrival_date jsonb, automatic jsonb, balance_transaction jsonb, created jsonb, currency jsonb,
    description jsonb, destination jsonb, failure_balance_transaction jsonb, failure_code jsonb, failure_message
    jsonb, livemode jsonb, metadata jsonb, method jsonb, source_type jsonb, statement_descriptor jsonb, status
    jsonb, type jsonb
)
WHERE object.deleted_at IS NULL;

-- name: payout_balance_transaction
-- Of automatic payouts that Stripe has reconciled. Others are not told.
CREATE OR REPLACE VIEW {dbt}.payout_balance_transaction AS
SELECT
    object.synced_at AS _fivetran_synced,
    paid_out.payout AS payout_id,
    object.id AS balance_transaction_id
FROM {payout_balance_transactions} AS paid_out
JOIN {balance_transactions} AS object ON object.id = paid_out.balance_transaction
WHERE object.deleted_at IS NULL;

-- name: plan
CREATE OR REPLACE VIEW {dbt}.plan AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_boolean(whole.active) AS active,
    billstack.as_text(whole.recurring -> 'aggregate_usage') AS aggregate_usage,
    billstack.as_bigint(whole.unit_amount) AS amount,
    billstack.as_text(whole.billing_scheme) AS billing_scheme,
    billstack.as_time(whole.created) AS created,
    billstack.as_text(whole.currency) AS currency,
    billstack.as_text(whole.recurring -> 'interval') AS interval,
    billstack.as_bigint(whole.recurring -> 'interval_count') AS interval_count,
    object.deleted_at IS NOT NULL AS is_deleted,
    billstack.as_boolean(whole.livemode) AS livemode,
    billstack.as_object(whole.metadata)::text AS metadata,
    billstack.as_text(whole.nickname) AS nickname,
    billstack.as_id(whole.product) AS product_id,
    billstack.as_bigint(whole.recurring -> 'trial_period_days') AS trial_period_days,
    billstack.as_text(whole.recurring -> 'usage_type') AS usage_type
FROM {prices} AS object
CROSS JOIN LATERAL jsonb_to_record(object.raw) AS whole (
    active jsonb, billing_scheme jsonb, created jsonb, currency jsonb, livemode jsonb, metadata jsonb, nickname
    jsonb, product jsonb, recurring jsonb, unit_amount jsonb
);

-- name: price
CREATE OR REPLACE VIEW {dbt}.price AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_boolean(whole.active) AS active,
    billstack.as_text(whole.billing_scheme) AS billing_scheme,
    billstack.as_time(whole.created) AS created,
    billstack.as_text(whole.currency) AS currency,
    object.deleted_at IS NOT NULL AS is_deleted,
    billstack.as_boolean(whole.livemode) AS livemode,
    billstack.as_object(whole.metadata)::text AS metadata,
    billstack.as_text(whole.nickname) AS nickname,
    billstack.as_id(whole.product) AS product_id,
    billstack.as_text(whole.recurring -> 'aggregate_usage') AS recurring_aggregate_usage,
    billstack.as_text(whole.recurring -> 'interval') AS recurring_interval,
    billstack.as_bigint(whole.recurring -> 'interval_count') AS recurring_interval_count,
    billstack.as_text(whole.recurring -> 'usage_type') AS recurring_usage_type,
    billstack.as_bigint(whole.unit_amount) AS unit_amount,
    billstack.as_decimal(whole.unit_amount_decimal)::text AS unit_amount_decimal
FROM {prices} AS object
CROSS JOIN LATERAL jsonb_to_record(object.raw) AS whole (
    active jsonb, billing_scheme jsonb, created jsonb, currency jsonb, livemode jsonb, metadata jsonb, nickname
    jsonb, product jsonb, recurring jsonb, unit_amount jsonb, unit_amount_decimal jsonb
);

-- name: product
CREATE OR REPLACE VIEW {dbt}.product AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    object.synced_at AS fivetran_synced,
    billstack.as_boolean(whole.active) AS active,
    billstack.as_array(whole.attributes)::text AS attributes,
    billstack.as_text(whole.caption) AS caption,
    billstack.as_time(whole.created) AS created,
    billstack.as_array(whole.deactivate_on)::text AS deactivate_on,
    billstack.as_text(whole.description) AS description,
    billstack.as_array(whole.images)::text AS images,
    object.deleted_at IS NOT NULL AS is_deleted,
    billstack.as_boolean(whole.livemode) AS livemode,
    billstack.as_text(whole.name) AS name,
    billstack.as_boolean(whole.shippable) AS shippable,
    billstack.as_text(whole.statement_descriptor) AS statement_descriptor,
    billstack.as_text(whole.type) AS type,
    billstack.as_text(whole.unit_label) AS unit_label,
    billstack.as_time(whole.updated) AS updated,
    billstack.as_text(whole.url) AS url
FROM {products} AS object
CROSS JOIN LATERAL jsonb_to_record(object.raw) AS whole (
    active jsonb, attributes jsonb, caption jsonb, created jsonb, deactivate_on jsonb, description jsonb, images
    jsonb, livemode jsonb, name jsonb, shippable jsonb, statement_descriptor jsonb, type jsonb, unit_label jsonb,
    updated jsonb, url jsonb
);

-- name: refund
CREATE OR REPLACE VIEW {dbt}.refund AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_bigint(whole.amount) AS amount,
    billstack.as_id(whole.balance_transaction) AS balance_transaction_id,
    billstack.as_id(whole.charge) AS charge_id,
    billstack.as_id(whole.payment_intent) AS payment_intent_id,
    billstack.as_time(whole.created) AS created,
    billstack.as_text(whole.currency) AS currency,
    billstack.as_text(whole.description) AS description,
    billstack.as_id(whole.failure_balance_transaction) AS failure_balance_transaction_id,
    billstack.as_text(whole.failure_reason) AS failure_reason,
    billstack.as_object(whole.metadata)::text AS metadata,
    billstack.as_text(whole.reason) AS reason,
    billstack.as_text(whole.receipt_number) AS receipt_number,
    billstack.as_text(whole.status) AS status
FROM {refunds} AS object
CROSS JOIN LATERAL jsonb_to_record(object.raw) AS whole (
    amount jsonb, balance_transaction jsonb, charge jsonb, created jsonb, currency jsonb, description jsonb,
    failure_balance_transaction jsonb, failure_reason jsonb, metadata jsonb, payment_intent jsonb, reason jsonb,
    receipt_number jsonb, status jsonb
)
WHERE object.deleted_at IS NULL;

-- name: subscription
CREATE OR REPLACE VIEW {dbt}.subscription AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    true AS _fivetran_active,
    billstack.as_decimal(whole.application_fee_percent) AS application_fee_percent,
    coalesce(
        billstack.as_text(whole.collection_method),
        billstack.as_text(whole.billing)
    ) AS billing,
    billstack.as_time(whole.billing_cycle_anchor) AS billing_cycle_anchor,
    billstack.as_bigint(whole.billing_thresholds -> 'amount_gte') AS billing_threshold_amount_gte,
    billstack.as_boolean(whole.billing_thresholds -> 'reset_billing_cycle_anchor')
        AS billing_threshold_reset_billing_cycle_anchor,
    billstack.as_time(whole.cancel_at) AS cancel_at,
    billstack.as_boolean(whole.cancel_at_period_end) AS cancel_at_period_end,
    billstack.as_time(whole.canceled_at) AS canceled_at,
    billstack.as_time(whole.created) AS created,
    coalesce(
        billstack.as_time(whole.items #> ARRAY['data', '0', 'current_period_end']),
        billstack.as_time(whole.current_period_end)
    ) AS current_period_end,
    coalesce(
        billstack.as_time(whole.items #> ARRAY['data', '0', 'current_period_start']),
        billstack.as_time(whole.current_period_start)
    ) AS current_period_start,
    billstack.as_id(whole.customer) AS customer_id,
    billstack.as_bigint(whole.days_until_due) AS days_until_due,
    billstack.as_id(whole.default_source) AS default_source_id,
    billstack.as_time(whole.ended_at) AS ended_at,
    billstack.as_id(whole.latest_invoice) AS latest_invoice_id,
    billstack.as_id(whole.default_payment_method) AS default_payment_method_id,
    billstack.as_id(whole.pending_setup_intent) AS pending_setup_intent_id,
    billstack.as_boolean(whole.livemode) AS livemode,
    billstack.as_object(whole.metadata)::text AS metadata,
    coalesce(
        billstack.as_bigint(whole.items #> ARRAY['data', '0', 'quantity']),
        billstack.as_bigint(whole.quantity)
    ) AS quantity,
    coalesce(billstack.as_time(whole.start_date), billstack.as_time(whole.start)) AS start_date,
    billstack.as_text(whole.status) AS status,
    billstack.as_decimal(whole.tax_percent) AS tax_percent,
    billstack.as_time(whole.trial_end) AS trial_end,
    billstack.as_time(whole.trial_start) AS trial_start,
    billstack.as_text(whole.pause_collection -> 'behavior') AS pause_collection_behavior,
    billstack.as_time(whole.pause_collection -> 'resumes_at') AS pause_collection_resumes_at
FROM {subscriptions} AS object
CROSS JOIN LATERAL jsonb_to_record(object.raw) AS whole (
    application_fee_percent jsonb, billing jsonb, billing_cycle_anchor jsonb, billing_thresholds jsonb, cancel_at
    jsonb, cancel_at_period_end jsonb, canceled_at jsonb, collection_method jsonb, created jsonb, current_period_end
    jsonb, current_period_start jsonb, customer jsonb, days_until_due jsonb, default_payment_method jsonb,
    default_source jsonb, ended_at jsonb, items jsonb, latest_invoice jsonb, livemode jsonb, metadata jsonb,
    pause_collection jsonb, pending_setup_intent jsonb, quantity jsonb, start jsonb, start_date jsonb, status jsonb,
    tax_percent jsonb, trial_end jsonb, trial_start jsonb
)
WHERE object.deleted_at IS NULL;

-- name: subscription_discount
CREATE OR REPLACE VIEW {dbt}.subscription_discount AS
SELECT
    billstack.as_text(named.discount -> 'id') AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_id(named.discount -> 'checkout_session') AS checkout_session,
    coalesce(
        billstack.as_id(named.discount -> 'coupon'),
        billstack.as_id(named.discount #> ARRAY['source', 'coupon'])
    ) AS coupon_id,
    coalesce(billstack.as_id(named.discount -> 'customer'), billstack.as_id(object.raw -> 'customer')) AS customer_id,
    billstack.as_id(named.discount -> 'invoice') AS invoice_id,
    billstack.as_id(named.discount -> 'invoice_item') AS invoice_item_id,
    object.id AS subscription_id,
    billstack.as_time(named.discount -> 'end') AS "end",
    billstack.as_time(named.discount -> 'start') AS "start"
FROM {subscriptions} AS object
CROSS JOIN LATERAL jsonb_array_elements(
    billstack.discounts_of(object.raw -> 'discounts', object.raw -> 'discount')
) AS named (discount)
WHERE object.deleted_at IS NULL AND jsonb_typeof(named.discount) = 'object';

-- name: subscription_item
CREATE OR REPLACE VIEW {dbt}.subscription_item AS
SELECT
    billstack.as_text(item -> 'id') AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_time(item -> 'created') AS created,
    coalesce(
        billstack.as_time(item -> 'current_period_end'),
        billstack.as_time(object.raw -> 'current_period_end')
    ) AS current_period_end,
    coalesce(
        billstack.as_time(item -> 'current_period_start'),
        billstack.as_time(object.raw -> 'current_period_start')
    ) AS current_period_start,
    billstack.as_object(item -> 'metadata')::text AS metadata,
    coalesce(billstack.as_id(item -> 'price'), billstack.as_id(item -> 'plan')) AS plan_id,
    billstack.as_bigint(item -> 'quantity') AS quantity,
    object.id AS subscription_id
FROM {subscriptions} AS object
CROSS JOIN LATERAL jsonb_array_elements(billstack.as_array(object.raw #> ARRAY['items', 'data'])) AS item
WHERE object.deleted_at IS NULL;

-- name: transfer
CREATE OR REPLACE VIEW {dbt}.transfer AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_bigint(whole.amount) AS amount,
    billstack.as_bigint(whole.amount_reversed) AS amount_reversed,
    billstack.as_id(whole.balance_transaction) AS balance_transaction_id,
    billstack.as_time(whole.created) AS created,
    billstack.as_text(whole.currency) AS currency,
    billstack.as_text(whole.description) AS description,
    billstack.as_id(whole.destination) AS destination,
    billstack.as_id(whole.destination_payment) AS destination_payment,
    billstack.as_id(whole.destination_payment) AS destination_payment_id,
    billstack.as_boolean(whole.livemode) AS livemode,
    billstack.as_object(whole.metadata)::text AS metadata,
    billstack.as_boolean(whole.reversed) AS reversed,
    billstack.as_id(whole.source_transaction) AS source_transaction,
    billstack.as_id(whole.source_transaction) AS source_transaction_id,
    billstack.as_text(whole.source_type) AS source_type,
    billstack.as_text(whole.transfer_group) AS transfer_group
FROM {transfers} AS object
CROSS JOIN LATERAL jsonb_to_record(object.raw) AS whole (
    amount jsonb, amount_reversed jsonb, balance_transaction jsonb, created jsonb, currency jsonb, description
    jsonb, destination jsonb, destination_payment jsonb, livemode jsonb, metadata jsonb, reversed jsonb,
    source_transaction jsonb, source_type jsonb, transfer_group jsonb
)
WHERE object.deleted_at IS NULL;
