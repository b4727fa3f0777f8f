-- name: transfers_insert
-- Write rows of the ledger; one that is there already is an error, never passed over.
INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, month, source_id)
SELECT id, batch_id, kind, debit, credit, amount_micros, account_id, month, source_id
FROM json_to_recordset(%(rows)s::json)
  AS r(id uuid, batch_id uuid, kind text, debit text, credit text, amount_micros bigint, account_id uuid, month date,
  source_id uuid)
