-- The views that dbt's package for Stripe reads, by its names for tables and columns: one schema a team, on demand
-- (sync/database/dbt.py). A view reads `raw`, so it is the same whatever other columns its table has. The name of a table
-- in braces is that table, or an empty one if the team does not mirror the type.

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
    billstack.as_bigint(object.raw -> 'amount') AS amount,
    billstack.as_time(object.raw -> 'available_on') AS available_on,
    NULL::text AS connected_account_id,
    billstack.as_time(object.raw -> 'created') AS created,
    billstack.as_text(object.raw -> 'currency') AS currency,
    billstack.as_text(object.raw -> 'description') AS description,
    billstack.as_decimal(object.raw -> 'exchange_rate') AS exchange_rate,
    billstack.as_bigint(object.raw -> 'fee') AS fee,
    billstack.as_bigint(object.raw -> 'net') AS net,
    NULL::text AS payout_id,
    billstack.as_text(object.raw -> 'reporting_category') AS reporting_category,
    billstack.as_id(object.raw -> 'source') AS source,
    billstack.as_text(object.raw -> 'status') AS status,
    billstack.as_text(object.raw -> 'type') AS type
FROM {balance_transactions} AS object
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
    billstack.as_bigint(object.raw -> 'amount') AS amount,
    billstack.as_bigint(object.raw -> 'amount_refunded') AS amount_refunded,
    billstack.as_id(object.raw -> 'application') AS application,
    billstack.as_bigint(object.raw -> 'application_fee_amount') AS application_fee_amount,
    billstack.as_id(object.raw -> 'balance_transaction') AS balance_transaction_id,
    NULL::text AS bank_account_id,
    billstack.as_text(object.raw -> 'calculated_statement_descriptor') AS calculated_statement_descriptor,
    billstack.as_boolean(object.raw -> 'captured') AS captured,
    CASE
        WHEN billstack.as_text(object.raw #> ARRAY['source', 'object']) = 'card'
        THEN billstack.as_id(object.raw -> 'source')
    END AS card_id,
    NULL::text AS connected_account_id,
    billstack.as_time(object.raw -> 'created') AS created,
    billstack.as_text(object.raw -> 'currency') AS currency,
    billstack.as_id(object.raw -> 'customer') AS customer_id,
    billstack.as_text(object.raw -> 'description') AS description,
    billstack.as_id(object.raw -> 'destination') AS destination,
    billstack.as_text(object.raw -> 'failure_code') AS failure_code,
    billstack.as_text(object.raw -> 'failure_message') AS failure_message,
    billstack.as_text(object.raw #> ARRAY['fraud_details', 'stripe_report']) AS fraud_details_stripe_report,
    billstack.as_text(object.raw #> ARRAY['fraud_details', 'user_report']) AS fraud_details_user_report,
    coalesce(billstack.as_id(object.raw -> 'invoice'), paid.invoice) AS invoice_id,
    billstack.as_boolean(object.raw -> 'livemode') AS livemode,
    billstack.as_object(object.raw -> 'metadata')::text AS metadata,
    billstack.as_id(object.raw -> 'on_behalf_of') AS on_behalf_of,
    billstack.as_text(object.raw #> ARRAY['outcome', 'network_status']) AS outcome_network_status,
    billstack.as_text(object.raw #> ARRAY['outcome', 'reason']) AS outcome_reason,
    billstack.as_text(object.raw #> ARRAY['outcome', 'risk_level']) AS outcome_risk_level,
    billstack.as_bigint(object.raw #> ARRAY['outcome', 'risk_score']) AS outcome_risk_score,
    billstack.as_text(object.raw #> ARRAY['outcome', 'seller_message']) AS outcome_seller_message,
    billstack.as_text(object.raw #> ARRAY['outcome', 'type']) AS outcome_type,
    billstack.as_boolean(object.raw -> 'paid') AS paid,
    billstack.as_id(object.raw -> 'payment_intent') AS payment_intent_id,
    billstack.as_id(object.raw -> 'payment_method') AS payment_method_id,
    billstack.as_text(object.raw -> 'receipt_email') AS receipt_email,
    billstack.as_text(object.raw -> 'receipt_number') AS receipt_number,
    billstack.as_text(object.raw -> 'receipt_url') AS receipt_url,
    billstack.as_boolean(object.raw -> 'refunded') AS refunded,
    billstack.as_text(object.raw #> ARRAY['shipping', 'address', 'city']) AS shipping_address_city,
    billstack.as_text(object.raw #> ARRAY['shipping', 'address', 'country']) AS shipping_address_country,
    billstack.as_text(object.raw #> ARRAY['shipping', 'address', 'line1']) AS shipping_address_line_1,
    billstack.as_text(object.raw #> ARRAY['shipping', 'address', 'line2']) AS shipping_address_line_2,
    billstack.as_text(object.raw #> ARRAY['shipping', 'address', 'postal_code']) AS shipping_address_postal_code,
    billstack.as_text(object.raw #> ARRAY['shipping', 'address', 'state']) AS shipping_address_state,
    billstack.as_text(object.raw #> ARRAY['shipping', 'carrier']) AS shipping_carrier,
    billstack.as_text(object.raw #> ARRAY['shipping', 'name']) AS shipping_name,
    billstack.as_text(object.raw #> ARRAY['shipping', 'phone']) AS shipping_phone,
    billstack.as_text(object.raw #> ARRAY['shipping', 'tracking_number']) AS shipping_tracking_number,
    billstack.as_id(object.raw -> 'source') AS source_id,
    billstack.as_id(object.raw -> 'source_transfer') AS source_transfer,
    billstack.as_text(object.raw -> 'statement_descriptor') AS statement_descriptor,
    billstack.as_text(object.raw -> 'status') AS status,
    billstack.as_id(object.raw #> ARRAY['transfer_data', 'destination']) AS transfer_data_destination,
    billstack.as_text(object.raw -> 'transfer_group') AS transfer_group,
    billstack.as_id(object.raw -> 'transfer') AS transfer_id,
    billstack.as_text(object.raw #> ARRAY['billing_details', 'address', 'city']) AS billing_detail_address_city,
    billstack.as_text(object.raw #> ARRAY['billing_details', 'address', 'country']) AS billing_detail_address_country,
    billstack.as_text(object.raw #> ARRAY['billing_details', 'address', 'line1']) AS billing_detail_address_line1,
    billstack.as_text(object.raw #> ARRAY['billing_details', 'address', 'line2']) AS billing_detail_address_line2,
    billstack.as_text(object.raw #> ARRAY['billing_details', 'address', 'postal_code']) AS billing_detail_address_postal_code,
    billstack.as_text(object.raw #> ARRAY['billing_details', 'address', 'state']) AS billing_detail_address_state,
    billstack.as_text(object.raw #> ARRAY['billing_details', 'email']) AS billing_detail_email,
    billstack.as_text(object.raw #> ARRAY['billing_details', 'name']) AS billing_detail_name,
    billstack.as_text(object.raw #> ARRAY['billing_details', 'phone']) AS billing_detail_phone
FROM {charges} AS object
LEFT JOIN (
    SELECT DISTINCT ON (billstack.as_id(payment.raw #> ARRAY['payment', 'payment_intent']))
        billstack.as_id(payment.raw #> ARRAY['payment', 'payment_intent']) AS payment_intent,
        billstack.as_id(payment.raw -> 'invoice') AS invoice
    FROM {invoice_payments} AS payment
    WHERE payment.deleted_at IS NULL
    ORDER BY billstack.as_id(payment.raw #> ARRAY['payment', 'payment_intent']), payment.id
) AS paid ON paid.payment_intent = billstack.as_id(object.raw -> 'payment_intent')
WHERE object.deleted_at IS NULL;

-- name: coupon
CREATE OR REPLACE VIEW {dbt}.coupon AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_bigint(object.raw -> 'amount_off') AS amount_off,
    billstack.as_time(object.raw -> 'created') AS created,
    billstack.as_text(object.raw -> 'currency') AS currency,
    billstack.as_text(object.raw -> 'duration') AS duration,
    billstack.as_bigint(object.raw -> 'duration_in_months') AS duration_in_months,
    billstack.as_boolean(object.raw -> 'livemode') AS livemode,
    billstack.as_bigint(object.raw -> 'max_redemptions') AS max_redemptions,
    billstack.as_object(object.raw -> 'metadata')::text AS metadata,
    billstack.as_text(object.raw -> 'name') AS name,
    billstack.as_decimal(object.raw -> 'percent_off') AS percent_off,
    billstack.as_time(object.raw -> 'redeem_by') AS redeem_by,
    billstack.as_bigint(object.raw -> 'times_redeemed') AS times_redeemed,
    billstack.as_boolean(object.raw -> 'valid') AS valid
FROM {coupons} AS object
WHERE object.deleted_at IS NULL;

-- name: credit_note
CREATE OR REPLACE VIEW {dbt}.credit_note AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_bigint(object.raw -> 'amount') AS amount,
    billstack.as_time(object.raw -> 'created') AS created,
    billstack.as_text(object.raw -> 'currency') AS currency,
    billstack.as_bigint(object.raw -> 'discount_amount') AS discount_amount,
    billstack.as_bigint(object.raw -> 'subtotal') AS subtotal,
    billstack.as_bigint(object.raw -> 'total') AS total,
    billstack.as_boolean(object.raw -> 'livemode') AS livemode,
    billstack.as_text(object.raw -> 'memo') AS memo,
    billstack.as_object(object.raw -> 'metadata')::text AS metadata,
    billstack.as_text(object.raw -> 'number') AS number,
    billstack.as_text(object.raw -> 'pdf') AS pdf,
    billstack.as_text(object.raw -> 'reason') AS reason,
    billstack.as_text(object.raw -> 'status') AS status,
    billstack.as_text(object.raw -> 'type') AS type,
    billstack.as_time(object.raw -> 'voided_at') AS voided_at,
    billstack.as_id(object.raw -> 'customer_balance_transaction') AS customer_balance_transaction,
    billstack.as_id(object.raw -> 'invoice') AS invoice_id,
    coalesce(
        billstack.as_id(object.raw -> 'refund'),
        billstack.as_id(object.raw #> ARRAY['refunds', '0', 'refund'])
    ) AS refund_id
FROM {credit_notes} AS object
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
        billstack.as_bigint(object.raw -> 'account_balance'),
        billstack.as_bigint(object.raw -> 'balance')
    ) AS account_balance,
    billstack.as_text(object.raw #> ARRAY['address', 'city']) AS address_city,
    billstack.as_text(object.raw #> ARRAY['address', 'country']) AS address_country,
    billstack.as_text(object.raw #> ARRAY['address', 'line1']) AS address_line_1,
    billstack.as_text(object.raw #> ARRAY['address', 'line2']) AS address_line_2,
    billstack.as_text(object.raw #> ARRAY['address', 'postal_code']) AS address_postal_code,
    billstack.as_text(object.raw #> ARRAY['address', 'state']) AS address_state,
    coalesce(
        billstack.as_bigint(object.raw -> 'balance'),
        billstack.as_bigint(object.raw -> 'account_balance')
    ) AS balance,
    NULL::text AS bank_account_id,
    billstack.as_time(object.raw -> 'created') AS created,
    billstack.as_text(object.raw -> 'currency') AS currency,
    billstack.as_id(object.raw -> 'default_source') AS default_card_id,
    billstack.as_boolean(object.raw -> 'delinquent') AS delinquent,
    billstack.as_text(object.raw -> 'description') AS description,
    billstack.as_text(object.raw -> 'email') AS email,
    billstack.as_text(object.raw -> 'invoice_prefix') AS invoice_prefix,
    billstack.as_id(object.raw #> ARRAY['invoice_settings', 'default_payment_method']) AS invoice_settings_default_payment_method,
    billstack.as_text(object.raw #> ARRAY['invoice_settings', 'footer']) AS invoice_settings_footer,
    object.deleted_at IS NOT NULL AS is_deleted,
    billstack.as_boolean(object.raw -> 'livemode') AS livemode,
    billstack.as_object(object.raw -> 'metadata')::text AS metadata,
    billstack.as_text(object.raw -> 'name') AS name,
    billstack.as_text(object.raw -> 'phone') AS phone,
    billstack.as_text(object.raw #> ARRAY['shipping', 'address', 'city']) AS shipping_address_city,
    billstack.as_text(object.raw #> ARRAY['shipping', 'address', 'country']) AS shipping_address_country,
    billstack.as_text(object.raw #> ARRAY['shipping', 'address', 'line1']) AS shipping_address_line_1,
    billstack.as_text(object.raw #> ARRAY['shipping', 'address', 'line2']) AS shipping_address_line_2,
    billstack.as_text(object.raw #> ARRAY['shipping', 'address', 'postal_code']) AS shipping_address_postal_code,
    billstack.as_text(object.raw #> ARRAY['shipping', 'address', 'state']) AS shipping_address_state,
    billstack.as_text(object.raw #> ARRAY['shipping', 'carrier']) AS shipping_carrier,
    billstack.as_text(object.raw #> ARRAY['shipping', 'name']) AS shipping_name,
    billstack.as_text(object.raw #> ARRAY['shipping', 'phone']) AS shipping_phone,
    billstack.as_text(object.raw #> ARRAY['shipping', 'tracking_number']) AS shipping_tracking_number,
    billstack.as_id(object.raw -> 'default_source') AS source_id,
    billstack.as_text(object.raw -> 'tax_exempt') AS tax_exempt,
    billstack.as_text(object.raw #> ARRAY['tax_info', 'tax_id']) AS tax_info_tax_id,
    billstack.as_text(object.raw #> ARRAY['tax_info', 'type']) AS tax_info_type,
    billstack.as_text(object.raw #> ARRAY['tax_info_verification', 'status']) AS tax_info_verification_status,
    billstack.as_text(object.raw #> ARRAY['tax_info_verification', 'verified_name']) AS tax_info_verification_verified_name
FROM {customers} AS object;

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
    billstack.as_bigint(object.raw -> 'amount') AS amount,
    coalesce(
        billstack.as_id(object.raw -> 'balance_transaction'),
        billstack.as_id(object.raw #> ARRAY['balance_transactions', '0'])
    ) AS balance_transaction,
    billstack.as_id(object.raw -> 'charge') AS charge_id,
    NULL::text AS connected_account_id,
    billstack.as_time(object.raw -> 'created') AS created,
    billstack.as_text(object.raw -> 'currency') AS currency,
    billstack.as_text(object.raw #> ARRAY['evidence', 'access_activity_log']) AS evidence_access_activity_log,
    billstack.as_text(object.raw #> ARRAY['evidence', 'billing_address']) AS evidence_billing_address,
    billstack.as_id(object.raw #> ARRAY['evidence', 'cancellation_policy']) AS evidence_cancellation_policy,
    billstack.as_text(object.raw #> ARRAY['evidence', 'cancellation_policy_disclosure']) AS evidence_cancellation_policy_disclosure,
    billstack.as_text(object.raw #> ARRAY['evidence', 'cancellation_rebuttal']) AS evidence_cancellation_rebuttal,
    billstack.as_id(object.raw #> ARRAY['evidence', 'customer_communication']) AS evidence_customer_communication,
    billstack.as_text(object.raw #> ARRAY['evidence', 'customer_email_address']) AS evidence_customer_email_address,
    billstack.as_text(object.raw #> ARRAY['evidence', 'customer_name']) AS evidence_customer_name,
    billstack.as_text(object.raw #> ARRAY['evidence', 'customer_purchase_ip']) AS evidence_customer_purchase_ip,
    billstack.as_id(object.raw #> ARRAY['evidence', 'customer_signature']) AS evidence_customer_signature,
    billstack.as_time(object.raw #> ARRAY['evidence_details', 'due_by']) AS evidence_details_due_by,
    billstack.as_boolean(object.raw #> ARRAY['evidence_details', 'has_evidence']) AS evidence_details_has_evidence,
    billstack.as_boolean(object.raw #> ARRAY['evidence_details', 'past_due']) AS evidence_details_past_due,
    billstack.as_bigint(object.raw #> ARRAY['evidence_details', 'submission_count']) AS evidence_details_submission_count,
    billstack.as_id(object.raw #> ARRAY['evidence', 'duplicate_charge_documentation']) AS evidence_duplicate_charge_documentation,
    billstack.as_text(object.raw #> ARRAY['evidence', 'duplicate_charge_explanation']) AS evidence_duplicate_charge_explanation,
    billstack.as_text(object.raw #> ARRAY['evidence', 'duplicate_charge_id']) AS evidence_duplicate_charge_id,
    billstack.as_text(object.raw #> ARRAY['evidence', 'product_description']) AS evidence_product_description,
    billstack.as_id(object.raw #> ARRAY['evidence', 'receipt']) AS evidence_receipt,
    billstack.as_id(object.raw #> ARRAY['evidence', 'refund_policy']) AS evidence_refund_policy,
    billstack.as_text(object.raw #> ARRAY['evidence', 'refund_policy_disclosure']) AS evidence_refund_policy_disclosure,
    billstack.as_text(object.raw #> ARRAY['evidence', 'refund_refusal_explanation']) AS evidence_refund_refusal_explanation,
    billstack.as_text(object.raw #> ARRAY['evidence', 'service_date']) AS evidence_service_date,
    billstack.as_id(object.raw #> ARRAY['evidence', 'service_documentation']) AS evidence_service_documentation,
    billstack.as_text(object.raw #> ARRAY['evidence', 'shipping_address']) AS evidence_shipping_address,
    billstack.as_text(object.raw #> ARRAY['evidence', 'shipping_carrier']) AS evidence_shipping_carrier,
    billstack.as_text(object.raw #> ARRAY['evidence', 'shipping_date']) AS evidence_shipping_date,
    billstack.as_id(object.raw #> ARRAY['evidence', 'shipping_documentation']) AS evidence_shipping_documentation,
    billstack.as_text(object.raw #> ARRAY['evidence', 'shipping_tracking_number']) AS evidence_shipping_tracking_number,
    billstack.as_id(object.raw #> ARRAY['evidence', 'uncategorized_file']) AS evidence_uncategorized_file,
    billstack.as_text(object.raw #> ARRAY['evidence', 'uncategorized_text']) AS evidence_uncategorized_text,
    billstack.as_boolean(object.raw -> 'is_charge_refundable') AS is_charge_refundable,
    billstack.as_boolean(object.raw -> 'livemode') AS livemode,
    billstack.as_object(object.raw -> 'metadata')::text AS metadata,
    billstack.as_text(object.raw -> 'reason') AS reason,
    billstack.as_text(object.raw -> 'status') AS status
FROM {disputes} AS object
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
    billstack.as_bigint(object.raw -> 'amount_due') AS amount_due,
    billstack.as_bigint(object.raw -> 'amount_paid') AS amount_paid,
    billstack.as_bigint(object.raw -> 'amount_remaining') AS amount_remaining,
    billstack.as_bigint(object.raw -> 'application_fee_amount') AS application_fee_amount,
    billstack.as_bigint(object.raw -> 'post_payment_credit_notes_amount') AS post_payment_credit_notes_amount,
    billstack.as_bigint(object.raw -> 'pre_payment_credit_notes_amount') AS pre_payment_credit_notes_amount,
    billstack.as_bigint(object.raw -> 'attempt_count') AS attempt_count,
    billstack.as_boolean(object.raw -> 'attempted') AS attempted,
    billstack.as_boolean(object.raw -> 'auto_advance') AS auto_advance,
    coalesce(
        billstack.as_text(object.raw -> 'collection_method'),
        billstack.as_text(object.raw -> 'billing')
    ) AS billing,
    billstack.as_text(object.raw -> 'billing_reason') AS billing_reason,
    coalesce(
        billstack.as_id(object.raw -> 'charge'),
        billstack.as_id(object.raw #> ARRAY['payments', 'data', '0', 'payment', 'charge'])
    ) AS charge_id,
    coalesce(billstack.as_time(object.raw -> 'created'), billstack.as_time(object.raw -> 'date')) AS created,
    billstack.as_text(object.raw -> 'currency') AS currency,
    billstack.as_id(object.raw -> 'customer') AS customer_id,
    coalesce(billstack.as_time(object.raw -> 'date'), billstack.as_time(object.raw -> 'created')) AS date,
    billstack.as_id(object.raw -> 'default_source') AS default_source_id,
    billstack.as_text(object.raw -> 'description') AS description,
    billstack.as_time(object.raw -> 'due_date') AS due_date,
    billstack.as_bigint(object.raw -> 'ending_balance') AS ending_balance,
    coalesce(
        billstack.as_time(object.raw #> ARRAY['status_transitions', 'finalized_at']),
        billstack.as_time(object.raw -> 'finalized_at')
    ) AS finalized_at,
    billstack.as_text(object.raw -> 'footer') AS footer,
    billstack.as_text(object.raw -> 'hosted_invoice_url') AS hosted_invoice_url,
    billstack.as_text(object.raw -> 'invoice_pdf') AS invoice_pdf,
    object.deleted_at IS NOT NULL AS is_deleted,
    billstack.as_boolean(object.raw -> 'livemode') AS livemode,
    billstack.as_object(object.raw -> 'metadata')::text AS metadata,
    billstack.as_time(object.raw -> 'next_payment_attempt') AS next_payment_attempt,
    billstack.as_text(object.raw -> 'number') AS number,
    coalesce(billstack.as_boolean(object.raw -> 'paid'), billstack.as_text(object.raw -> 'status') = 'paid') AS paid,
    billstack.as_id(object.raw -> 'default_payment_method') AS default_payment_method_id,
    coalesce(
        billstack.as_id(object.raw -> 'payment_intent'),
        billstack.as_id(object.raw #> ARRAY['payments', 'data', '0', 'payment', 'payment_intent'])
    ) AS payment_intent_id,
    coalesce(
        billstack.as_id(object.raw -> 'subscription'),
        billstack.as_id(object.raw #> ARRAY['parent', 'subscription_details', 'subscription'])
    ) AS subscription_id,
    billstack.as_time(object.raw -> 'period_end') AS period_end,
    billstack.as_time(object.raw -> 'period_start') AS period_start,
    billstack.as_text(object.raw -> 'receipt_number') AS receipt_number,
    billstack.as_bigint(object.raw -> 'starting_balance') AS starting_balance,
    billstack.as_text(object.raw -> 'statement_descriptor') AS statement_descriptor,
    billstack.invoice_status(object.raw) AS status,
    billstack.as_time(object.raw #> ARRAY['status_transitions', 'finalized_at']) AS status_transitions_finalized_at,
    billstack.as_time(object.raw #> ARRAY['status_transitions', 'marked_uncollectible_at']) AS status_transitions_marked_uncollectible_at,
    billstack.as_time(object.raw #> ARRAY['status_transitions', 'paid_at']) AS status_transitions_paid_at,
    billstack.as_time(object.raw #> ARRAY['status_transitions', 'voided_at']) AS status_transitions_voided_at,
    billstack.as_bigint(object.raw -> 'subscription_proration_date') AS subscription_proration_date,
    billstack.as_bigint(object.raw -> 'subtotal') AS subtotal,
    coalesce(billstack.as_bigint(object.raw -> 'tax'), (
        SELECT sum(billstack.as_bigint(taxed -> 'amount'))::bigint
        FROM jsonb_array_elements(billstack.as_array(object.raw -> 'total_taxes')) AS taxed
    )) AS tax,
    billstack.as_decimal(object.raw -> 'tax_percent') AS tax_percent,
    billstack.as_bigint(object.raw #> ARRAY['threshold_reason', 'amount_gte']) AS threshold_reason_amount_gte,
    billstack.as_bigint(object.raw -> 'total') AS total,
    billstack.as_time(object.raw -> 'webhooks_delivered_at') AS webhooks_delivered_at
FROM {invoices} AS object;

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
    billstack.as_bigint(object.raw -> 'amount') AS amount,
    billstack.as_bigint(object.raw -> 'amount_capturable') AS amount_capturable,
    billstack.as_bigint(object.raw -> 'amount_received') AS amount_received,
    billstack.as_id(object.raw -> 'application') AS application,
    billstack.as_bigint(object.raw -> 'application_fee_amount') AS application_fee_amount,
    billstack.as_time(object.raw -> 'canceled_at') AS canceled_at,
    billstack.as_text(object.raw -> 'cancellation_reason') AS cancellation_reason,
    billstack.as_text(object.raw -> 'capture_method') AS capture_method,
    billstack.as_text(object.raw -> 'confirmation_method') AS confirmation_method,
    billstack.as_time(object.raw -> 'created') AS created,
    billstack.as_text(object.raw -> 'currency') AS currency,
    billstack.as_id(object.raw -> 'customer') AS customer_id,
    billstack.as_text(object.raw -> 'description') AS description,
    billstack.as_id(object.raw #> ARRAY['last_payment_error', 'charge']) AS last_payment_error_charge_id,
    billstack.as_text(object.raw #> ARRAY['last_payment_error', 'code']) AS last_payment_error_code,
    billstack.as_text(object.raw #> ARRAY['last_payment_error', 'decline_code']) AS last_payment_error_decline_code,
    billstack.as_text(object.raw #> ARRAY['last_payment_error', 'doc_url']) AS last_payment_error_doc_url,
    billstack.as_text(object.raw #> ARRAY['last_payment_error', 'message']) AS last_payment_error_message,
    billstack.as_text(object.raw #> ARRAY['last_payment_error', 'param']) AS last_payment_error_param,
    billstack.as_id(object.raw #> ARRAY['last_payment_error', 'source']) AS last_payment_error_source_id,
    billstack.as_text(object.raw #> ARRAY['last_payment_error', 'type']) AS last_payment_error_type,
    billstack.as_boolean(object.raw -> 'livemode') AS livemode,
    billstack.as_object(object.raw -> 'metadata')::text AS metadata,
    billstack.as_id(object.raw -> 'on_behalf_of') AS on_behalf_of,
    billstack.as_id(object.raw -> 'payment_method') AS payment_method_id,
    billstack.as_text(object.raw -> 'receipt_email') AS receipt_email,
    billstack.as_id(object.raw -> 'source') AS source_id,
    billstack.as_text(object.raw -> 'statement_descriptor') AS statement_descriptor,
    billstack.as_text(object.raw -> 'status') AS status,
    billstack.as_id(object.raw #> ARRAY['transfer_data', 'destination']) AS transfer_data_destination,
    billstack.as_text(object.raw -> 'transfer_group') AS transfer_group
FROM {payment_intents} AS object
WHERE object.deleted_at IS NULL;

-- name: payment_method_card
CREATE OR REPLACE VIEW {dbt}.payment_method_card AS
SELECT
    object.synced_at AS _fivetran_synced,
    object.id AS charge_id,
    billstack.as_id(object.raw -> 'payment_method') AS payment_method_id,
    billstack.as_text(object.raw #> ARRAY['payment_method_details', 'card', 'brand']) AS brand,
    billstack.as_text(object.raw #> ARRAY['payment_method_details', 'card', 'funding']) AS funding,
    billstack.as_text(object.raw #> ARRAY['payment_method_details', 'type']) AS type,
    billstack.as_text(object.raw #> ARRAY['payment_method_details', 'card', 'wallet', 'type']) AS wallet_type,
    billstack.as_text(object.raw #> ARRAY['payment_method_details', 'card', 'three_d_secure', 'authentication_flow']) AS three_d_secure_authentication_flow,
    billstack.as_text(object.raw #> ARRAY['payment_method_details', 'card', 'three_d_secure', 'result']) AS three_d_secure_result,
    billstack.as_text(object.raw #> ARRAY['payment_method_details', 'card', 'three_d_secure', 'result_reason']) AS three_d_secure_result_reason,
    billstack.as_text(object.raw #> ARRAY['payment_method_details', 'card', 'three_d_secure', 'version']) AS three_d_secure_version
FROM {charges} AS object
WHERE object.deleted_at IS NULL AND jsonb_typeof(object.raw #> ARRAY['payment_method_details', 'card']) = 'object';

-- name: payment_method
CREATE OR REPLACE VIEW {dbt}.payment_method AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_text(object.raw #> ARRAY['billing_details', 'address', 'city']) AS billing_detail_address_city,
    billstack.as_text(object.raw #> ARRAY['billing_details', 'address', 'country']) AS billing_detail_address_country,
    billstack.as_text(object.raw #> ARRAY['billing_details', 'address', 'line1']) AS billing_detail_address_line_1,
    billstack.as_text(object.raw #> ARRAY['billing_details', 'address', 'line2']) AS billing_detail_address_line_2,
    billstack.as_text(object.raw #> ARRAY['billing_details', 'address', 'postal_code']) AS billing_detail_address_postal_code,
    billstack.as_text(object.raw #> ARRAY['billing_details', 'address', 'state']) AS billing_detail_address_state,
    billstack.as_text(object.raw #> ARRAY['billing_details', 'email']) AS billing_detail_email,
    billstack.as_text(object.raw #> ARRAY['billing_details', 'name']) AS billing_detail_name,
    billstack.as_text(object.raw #> ARRAY['billing_details', 'phone']) AS billing_detail_phone,
    billstack.as_time(object.raw -> 'created') AS created,
    billstack.as_id(object.raw -> 'customer') AS customer_id,
    billstack.as_boolean(object.raw -> 'livemode') AS livemode,
    billstack.as_object(object.raw -> 'metadata')::text AS metadata,
    billstack.as_text(object.raw -> 'type') AS type
FROM {payment_methods} AS object
WHERE object.deleted_at IS NULL;

-- name: payout
CREATE OR REPLACE VIEW {dbt}.payout AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_bigint(object.raw -> 'amount') AS amount,
    billstack.as_time(object.raw -> 'arrival_date') AS arrival_date,
    billstack.as_boolean(object.raw -> 'automatic') AS automatic,
    billstack.as_id(object.raw -> 'balance_transaction') AS balance_transaction_id,
    NULL::text AS connected_account_id,
    billstack.as_time(object.raw -> 'created') AS created,
    billstack.as_text(object.raw -> 'currency') AS currency,
    billstack.as_text(object.raw -> 'description') AS description,
    CASE
        WHEN billstack.as_text(object.raw -> 'type') = 'bank_account'
        THEN billstack.as_id(object.raw -> 'destination')
    END AS destination_bank_account_id,
    CASE
        WHEN billstack.as_text(object.raw -> 'type') = 'card'
        THEN billstack.as_id(object.raw -> 'destination')
    END AS destination_card_id,
    billstack.as_id(object.raw -> 'failure_balance_transaction') AS failure_balance_transaction_id,
    billstack.as_text(object.raw -> 'failure_code') AS failure_code,
    billstack.as_text(object.raw -> 'failure_message') AS failure_message,
    billstack.as_boolean(object.raw -> 'livemode') AS livemode,
    billstack.as_object(object.raw -> 'metadata')::text AS metadata,
    billstack.as_text(object.raw -> 'method') AS method,
    billstack.as_text(object.raw -> 'source_type') AS source_type,
    billstack.as_text(object.raw -> 'statement_descriptor') AS statement_descriptor,
    billstack.as_text(object.raw -> 'status') AS status,
    billstack.as_text(object.raw -> 'type') AS type
FROM {payouts} AS object
WHERE object.deleted_at IS NULL;

-- name: payout_balance_transaction
-- Stripe tells which transactions a payout is made of only by a list for each payout, which BillStack does not read.
CREATE OR REPLACE VIEW {dbt}.payout_balance_transaction AS
SELECT
    object.synced_at AS _fivetran_synced,
    NULL::text AS payout_id,
    object.id AS balance_transaction_id
FROM {balance_transactions} AS object
WHERE false;

-- name: plan
CREATE OR REPLACE VIEW {dbt}.plan AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_boolean(object.raw -> 'active') AS active,
    billstack.as_text(object.raw #> ARRAY['recurring', 'aggregate_usage']) AS aggregate_usage,
    billstack.as_bigint(object.raw -> 'unit_amount') AS amount,
    billstack.as_text(object.raw -> 'billing_scheme') AS billing_scheme,
    billstack.as_time(object.raw -> 'created') AS created,
    billstack.as_text(object.raw -> 'currency') AS currency,
    billstack.as_text(object.raw #> ARRAY['recurring', 'interval']) AS interval,
    billstack.as_bigint(object.raw #> ARRAY['recurring', 'interval_count']) AS interval_count,
    object.deleted_at IS NOT NULL AS is_deleted,
    billstack.as_boolean(object.raw -> 'livemode') AS livemode,
    billstack.as_object(object.raw -> 'metadata')::text AS metadata,
    billstack.as_text(object.raw -> 'nickname') AS nickname,
    billstack.as_id(object.raw -> 'product') AS product_id,
    billstack.as_bigint(object.raw #> ARRAY['recurring', 'trial_period_days']) AS trial_period_days,
    billstack.as_text(object.raw #> ARRAY['recurring', 'usage_type']) AS usage_type
FROM {prices} AS object;

-- name: price
CREATE OR REPLACE VIEW {dbt}.price AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_boolean(object.raw -> 'active') AS active,
    billstack.as_text(object.raw -> 'billing_scheme') AS billing_scheme,
    billstack.as_time(object.raw -> 'created') AS created,
    billstack.as_text(object.raw -> 'currency') AS currency,
    object.deleted_at IS NOT NULL AS is_deleted,
    billstack.as_boolean(object.raw -> 'livemode') AS livemode,
    billstack.as_object(object.raw -> 'metadata')::text AS metadata,
    billstack.as_text(object.raw -> 'nickname') AS nickname,
    billstack.as_id(object.raw -> 'product') AS product_id,
    billstack.as_text(object.raw #> ARRAY['recurring', 'aggregate_usage']) AS recurring_aggregate_usage,
    billstack.as_text(object.raw #> ARRAY['recurring', 'interval']) AS recurring_interval,
    billstack.as_bigint(object.raw #> ARRAY['recurring', 'interval_count']) AS recurring_interval_count,
    billstack.as_text(object.raw #> ARRAY['recurring', 'usage_type']) AS recurring_usage_type,
    billstack.as_bigint(object.raw -> 'unit_amount') AS unit_amount,
    billstack.as_decimal(object.raw -> 'unit_amount_decimal')::text AS unit_amount_decimal
FROM {prices} AS object;

-- name: product
CREATE OR REPLACE VIEW {dbt}.product AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    object.synced_at AS fivetran_synced,
    billstack.as_boolean(object.raw -> 'active') AS active,
    billstack.as_array(object.raw -> 'attributes')::text AS attributes,
    billstack.as_text(object.raw -> 'caption') AS caption,
    billstack.as_time(object.raw -> 'created') AS created,
    billstack.as_array(object.raw -> 'deactivate_on')::text AS deactivate_on,
    billstack.as_text(object.raw -> 'description') AS description,
    billstack.as_array(object.raw -> 'images')::text AS images,
    object.deleted_at IS NOT NULL AS is_deleted,
    billstack.as_boolean(object.raw -> 'livemode') AS livemode,
    billstack.as_text(object.raw -> 'name') AS name,
    billstack.as_boolean(object.raw -> 'shippable') AS shippable,
    billstack.as_text(object.raw -> 'statement_descriptor') AS statement_descriptor,
    billstack.as_text(object.raw -> 'type') AS type,
    billstack.as_text(object.raw -> 'unit_label') AS unit_label,
    billstack.as_time(object.raw -> 'updated') AS updated,
    billstack.as_text(object.raw -> 'url') AS url
FROM {products} AS object;

-- name: refund
CREATE OR REPLACE VIEW {dbt}.refund AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    billstack.as_bigint(object.raw -> 'amount') AS amount,
    billstack.as_id(object.raw -> 'balance_transaction') AS balance_transaction_id,
    billstack.as_id(object.raw -> 'charge') AS charge_id,
    billstack.as_id(object.raw -> 'payment_intent') AS payment_intent_id,
    billstack.as_time(object.raw -> 'created') AS created,
    billstack.as_text(object.raw -> 'currency') AS currency,
    billstack.as_text(object.raw -> 'description') AS description,
    billstack.as_id(object.raw -> 'failure_balance_transaction') AS failure_balance_transaction_id,
    billstack.as_text(object.raw -> 'failure_reason') AS failure_reason,
    billstack.as_object(object.raw -> 'metadata')::text AS metadata,
    billstack.as_text(object.raw -> 'reason') AS reason,
    billstack.as_text(object.raw -> 'receipt_number') AS receipt_number,
    billstack.as_text(object.raw -> 'status') AS status
FROM {refunds} AS object
WHERE object.deleted_at IS NULL;

-- name: subscription
CREATE OR REPLACE VIEW {dbt}.subscription AS
SELECT
    object.id AS id,
    object.synced_at AS _fivetran_synced,
    true AS _fivetran_active,
    billstack.as_decimal(object.raw -> 'application_fee_percent') AS application_fee_percent,
    coalesce(
        billstack.as_text(object.raw -> 'collection_method'),
        billstack.as_text(object.raw -> 'billing')
    ) AS billing,
    billstack.as_time(object.raw -> 'billing_cycle_anchor') AS billing_cycle_anchor,
    billstack.as_bigint(object.raw #> ARRAY['billing_thresholds', 'amount_gte']) AS billing_threshold_amount_gte,
    billstack.as_boolean(object.raw #> ARRAY['billing_thresholds', 'reset_billing_cycle_anchor']) AS billing_threshold_reset_billing_cycle_anchor,
    billstack.as_time(object.raw -> 'cancel_at') AS cancel_at,
    billstack.as_boolean(object.raw -> 'cancel_at_period_end') AS cancel_at_period_end,
    billstack.as_time(object.raw -> 'canceled_at') AS canceled_at,
    billstack.as_time(object.raw -> 'created') AS created,
    coalesce(
        billstack.as_time(object.raw #> ARRAY['items', 'data', '0', 'current_period_end']),
        billstack.as_time(object.raw -> 'current_period_end')
    ) AS current_period_end,
    coalesce(
        billstack.as_time(object.raw #> ARRAY['items', 'data', '0', 'current_period_start']),
        billstack.as_time(object.raw -> 'current_period_start')
    ) AS current_period_start,
    billstack.as_id(object.raw -> 'customer') AS customer_id,
    billstack.as_bigint(object.raw -> 'days_until_due') AS days_until_due,
    billstack.as_id(object.raw -> 'default_source') AS default_source_id,
    billstack.as_time(object.raw -> 'ended_at') AS ended_at,
    billstack.as_id(object.raw -> 'latest_invoice') AS latest_invoice_id,
    billstack.as_id(object.raw -> 'default_payment_method') AS default_payment_method_id,
    billstack.as_id(object.raw -> 'pending_setup_intent') AS pending_setup_intent_id,
    billstack.as_boolean(object.raw -> 'livemode') AS livemode,
    billstack.as_object(object.raw -> 'metadata')::text AS metadata,
    coalesce(
        billstack.as_bigint(object.raw #> ARRAY['items', 'data', '0', 'quantity']),
        billstack.as_bigint(object.raw -> 'quantity')
    ) AS quantity,
    coalesce(billstack.as_time(object.raw -> 'start_date'), billstack.as_time(object.raw -> 'start')) AS start_date,
    billstack.as_text(object.raw -> 'status') AS status,
    billstack.as_decimal(object.raw -> 'tax_percent') AS tax_percent,
    billstack.as_time(object.raw -> 'trial_end') AS trial_end,
    billstack.as_time(object.raw -> 'trial_start') AS trial_start,
    billstack.as_text(object.raw #> ARRAY['pause_collection', 'behavior']) AS pause_collection_behavior,
    billstack.as_time(object.raw #> ARRAY['pause_collection', 'resumes_at']) AS pause_collection_resumes_at
FROM {subscriptions} AS object
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
    billstack.as_bigint(object.raw -> 'amount') AS amount,
    billstack.as_bigint(object.raw -> 'amount_reversed') AS amount_reversed,
    billstack.as_id(object.raw -> 'balance_transaction') AS balance_transaction_id,
    billstack.as_time(object.raw -> 'created') AS created,
    billstack.as_text(object.raw -> 'currency') AS currency,
    billstack.as_text(object.raw -> 'description') AS description,
    billstack.as_id(object.raw -> 'destination') AS destination,
    billstack.as_id(object.raw -> 'destination_payment') AS destination_payment,
    billstack.as_id(object.raw -> 'destination_payment') AS destination_payment_id,
    billstack.as_boolean(object.raw -> 'livemode') AS livemode,
    billstack.as_object(object.raw -> 'metadata')::text AS metadata,
    billstack.as_boolean(object.raw -> 'reversed') AS reversed,
    billstack.as_id(object.raw -> 'source_transaction') AS source_transaction,
    billstack.as_id(object.raw -> 'source_transaction') AS source_transaction_id,
    billstack.as_text(object.raw -> 'source_type') AS source_type,
    billstack.as_text(object.raw -> 'transfer_group') AS transfer_group
FROM {transfers} AS object
WHERE object.deleted_at IS NULL;
