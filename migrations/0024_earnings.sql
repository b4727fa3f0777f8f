-- What creators earn, from pending to payable: each share remembers what pays it, and each line what of it are shares.

-- up
SET LOCAL ROLE spell_owner;
-- Of a creator's share that credits paid: the grant, and the same on what takes it back. Of a metered share taken back
-- after it was billed: the line it stands in. Of what moves shares on: the grant, or the account whose bills do.
-- Shares that credits paid before there was this column say no grant, and stay pending.
ALTER TABLE ledger_transfers ADD COLUMN source_id uuid;
CREATE INDEX ledger_transfers_of_source ON ledger_transfers (source_id) WHERE source_id IS NOT NULL;
CREATE INDEX ledger_transfers_refunding ON ledger_transfers (debit, created_at) WHERE kind = 'refund_share';
CREATE INDEX ledger_transfers_moving_shares ON ledger_transfers (account_id)
  WHERE kind IN ('share_collected', 'share_returned', 'share_lost');

ALTER TABLE credit_grants
  -- What of the grant was used when its shares were last looked at, and when to look again whatever is used.
  ADD COLUMN shares_seen_micros bigint NOT NULL DEFAULT 0,
  ADD COLUMN shares_look_at timestamptz;

-- What of a line goes to the spell's creator once it is paid.
ALTER TABLE invoice_lines ADD COLUMN share_micros bigint NOT NULL DEFAULT 0;
UPDATE invoice_lines l SET share_micros = coalesce((
  SELECT sum(CASE t.kind WHEN 'creator_share' THEN t.amount_micros ELSE -t.amount_micros END)
  FROM ledger_transfers t
  WHERE t.account_id = l.account_id AND t.month = l.month AND t.spell_id = l.spell_id
    AND t.kind IN ('creator_share', 'refund_share') AND 'receivable:' || l.account_id IN (t.debit, t.credit)
    AND t.created_at > l.settled_after AND t.created_at <= l.settled_until), 0);
-- And what was paid already is collected.
INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, month, source_id)
SELECT gen_random_uuid(), paid.account_id, 'share_collected', 'creator:' || paid.creator_id, 'payable:' || paid.creator_id,
  paid.micros, paid.creator_id, paid.period, paid.account_id
FROM (
  SELECT i.account_id, max(c.period) AS period, s.account_id AS creator_id, sum(l.share_micros)::bigint AS micros
  FROM invoices i
  JOIN invoice_lines l ON l.invoice_id = i.id
  JOIN spells s ON s.id = l.spell_id
  CROSS JOIN LATERAL (
    SELECT period, status FROM invoices c
    WHERE c.account_id = i.account_id AND c.total_cents > 0 AND (c.frozen_at, c.id) >= (i.frozen_at, i.id)
    ORDER BY c.frozen_at, c.id LIMIT 1) AS c
  WHERE c.status = 'paid'
  GROUP BY i.account_id, s.account_id) AS paid
WHERE paid.micros > 0
  AND NOT EXISTS (SELECT FROM ledger_transfers WHERE kind = 'share_collected'); -- or this was undone and is done again
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
ALTER TABLE invoice_lines DROP COLUMN share_micros;
ALTER TABLE credit_grants DROP COLUMN shares_seen_micros, DROP COLUMN shares_look_at;
DROP INDEX ledger_transfers_moving_shares, ledger_transfers_refunding, ledger_transfers_of_source;
ALTER TABLE ledger_transfers DROP COLUMN source_id;
RESET ROLE;
