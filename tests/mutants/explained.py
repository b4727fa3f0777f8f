"""Mutants that no test can notice, each with the reason: what they do is the same, or is made sure of elsewhere."""

_NEVER_WAITS = "who skips what is locked waits for nobody, so the order of its locks is nobody's business"
_PRUNES = "says the same as the join beside it; it is there for the planner, which then opens only the right partitions"
_PLANS = "follows from what is said beside it; it is there for the planner, which then looks up by key"
_ACCEPTED = (
    "no cast settles so long after the month it was accepted in; it is there for the planner, as the index has it"
)
_EMPTY = "what is empty adds nothing; it is there for the planner, which then reads the index of what is not"
_INSTANT = "differs only in the very microsecond in which something expires"

_IN_VAIN = "only asks for the next casts where none waits, which names none"
_NONE = "a LIMIT of 0 names none, and no account has more on the wire than there are places"

EXPLAINED: dict[str, str] = {
    "admission.accounts_lock_free: drop `ORDER BY id`": _NEVER_WAITS,
    "settlement.accounts_lock_free: drop `ORDER BY id`": _NEVER_WAITS,
    "settlement.accounts_lock: condition `id BETWEEN %(first_id)s AND %(last_id)s` to `true`": _PRUNES,
    "settlement.accounts_lock_free: condition `id BETWEEN %(first_id)s AND %(last_id)s` to `true`": _PRUNES,
    "settlement.casts_read: condition `c.id BETWEEN %(first_id)s AND %(last_id)s` to `true`": _PRUNES,
    "settlement.casts_cancel_request: condition `id BETWEEN %(first_id)s AND %(last_id)s` to `true`": _PRUNES,
    "settlement.casts_of_account: condition `id BETWEEN %(first_id)s AND %(last_id)s` to `true`": _PRUNES,
    "settlement.casts_jobs: condition `c.id BETWEEN %(first_id)s AND %(last_id)s` to `true`": _PRUNES,
    "settlement.casts_start: condition `c.id BETWEEN %(first_id)s AND %(last_id)s` to `true`": _PRUNES,
    "settlement.casts_end: condition `c.id >= %(first_id)s` to `true`": _PRUNES,
    "settlement.casts_end: condition `c.id <= ANY(ARRAY[%(last_id)s]::uuid[])` to `true`": _PRUNES,
    "settlement.casts_end: condition `r.id BETWEEN %(first_id)s AND %(last_id)s` to `true`": _PLANS,
    "admission.state_read: flip `>` to `>=`": _INSTANT,
    "admission.state_read: flip `>` to `>=` #2": _INSTANT,
    "admission.state_read: flip `>` to `>=` #3": _INSTANT,
    "admission.state_read: flip `>` to `>=` #4": _INSTANT,
    "settlement.accounts_close: flip `>` to `>=`": _IN_VAIN,
    "settlement.accounts_close: sign `+` to `-`": _IN_VAIN,
    "settlement.accounts_close: flip `>` to `>=` #2": _INSTANT,
    "settlement.casts_name_next: condition `p.free > 0` to `true`": _NONE,
    "settlement.casts_name_next: flip `>` to `>=`": _NONE,
    "settlement.casts_read: flip `>` to `>=`": _INSTANT,
    "settlement.casts_read: flip `<=` to `<`": _INSTANT,
    "identity.key_update: condition `account_id = %(account_id)s` to `true`": "a key's casts are its account's; the"
    " planner then reads the index by account",
    "credit_grants.credits_ever_set: condition `NOT credits_ever` to `true`": "spares the writing of what stands there",
    "credit_grants.transaction_insert: condition `balance_micros > 0` to `true`": _EMPTY,
    "credit_grants.transaction_insert: flip `>` to `>=`": _EMPTY,
    "credit_grants.accounts_expiring: condition `balance_micros > 0` to `true`": _PLANS,
    "credit_grants.accounts_expiring: flip `>` to `>=` #2": _PLANS,
    "settlement.credits_spent_insert: condition `g.balance_micros > 0` to `true`": _EMPTY,
    "settlement.credits_spent_insert: flip `>` to `>=`": _EMPTY,
    "earned.balance_read: condition `credit LIKE 'payable:%%'` to `true`": _PLANS,
    "earned.balance_read: condition `debit LIKE 'payable:%%'` to `true`": _PLANS,
    "earned.months_read: condition `month >= %(accepted_from)s` to `true`": _ACCEPTED,
    "earned.parts_read: condition `month >= %(accepted_from)s` to `true`": _ACCEPTED,
}
