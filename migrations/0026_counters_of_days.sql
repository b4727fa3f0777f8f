-- Months are sums of days: an account's counter of a month said nothing more, and each batch raised it for each account.
-- `period` stays: a ledger of the version before may still write a month while a deploy is under way, which nobody reads.
-- And each transfer asked whether its account exists, which its writer has locked or read, and which is never deleted.

-- up
SET LOCAL ROLE spell_owner;
DELETE FROM usage_counters WHERE period = 'month';
ALTER TABLE ledger_transfers DROP CONSTRAINT ledger_transfers_account_id_fkey;
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
ALTER TABLE ledger_transfers ADD CONSTRAINT ledger_transfers_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts;
INSERT INTO usage_counters (account_id, dimension, subject_id, period, starts_on, funding, casts, failed, fuel, cpu_us,
  cost_micros)
SELECT account_id, dimension, subject_id, 'month', date_trunc('month', starts_on)::date, funding, sum(casts), sum(failed),
  sum(fuel), sum(cpu_us), sum(cost_micros)
FROM usage_counters WHERE dimension = 'account'
GROUP BY account_id, dimension, subject_id, date_trunc('month', starts_on)::date, funding;
RESET ROLE;
