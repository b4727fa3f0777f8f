-- spell_app answers reads of one account. Every change goes through spell_engine, whose flows take the account's lock
-- and write the audit log, so that the rights to change keys and budgets behind their backs go.

-- up
SET LOCAL ROLE spell_owner;
REVOKE INSERT, UPDATE ON api_keys, budgets, budget_windows FROM spell_app;
REVOKE UPDATE (handle) ON accounts FROM spell_app;
RESET ROLE;

-- down
SET LOCAL ROLE spell_owner;
GRANT UPDATE (handle) ON accounts TO spell_app;
GRANT INSERT, UPDATE ON api_keys, budgets, budget_windows TO spell_app;
RESET ROLE;
