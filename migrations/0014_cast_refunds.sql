-- A cast that is paid back returns credits to the grants they came from: a kind of its own in the history of the balance.

-- up
SET LOCAL ROLE spell_owner;
ALTER TABLE credit_transactions DROP CONSTRAINT credit_transactions_kind_check;
ALTER TABLE credit_transactions ADD CONSTRAINT credit_transactions_kind_check CHECK (kind IN (
  'purchase', 'top_up', 'grant', 'casts', 'consume', 'expiry', 'refund', 'dispute', 'refund_failed', 'dispute_won',
  'cast_refund'));
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
ALTER TABLE credit_transactions DROP CONSTRAINT credit_transactions_kind_check;
ALTER TABLE credit_transactions ADD CONSTRAINT credit_transactions_kind_check CHECK (kind IN (
  'purchase', 'top_up', 'grant', 'casts', 'consume', 'expiry', 'refund', 'dispute', 'refund_failed', 'dispute_won'));
RESET ROLE;
