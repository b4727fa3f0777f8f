"""What must be true of the books after every step, asked of the database by plain SQL. Used by every money test."""

import psycopg

# Each query returns the rows that are wrong.
BROKEN = {
    "a window holds what its open casts hold": """
        SELECT w.id, w.held_micros, coalesce(sum(c.held_micros), 0) FROM budget_windows w
        LEFT JOIN casts c ON w.id = ANY(c.window_ids) AND c.status IN ('queued', 'running')
        GROUP BY w.id HAVING w.held_micros <> coalesce(sum(c.held_micros), 0)""",
    "a window spent what its final casts cost": """
        SELECT w.id, w.spent_micros, sum(c.cost_micros) FROM budget_windows w
        JOIN casts c ON w.id = ANY(c.window_ids) AND c.status NOT IN ('queued', 'running')
        GROUP BY w.id HAVING w.spent_micros < sum(c.cost_micros)""",
    "a month holds what its open casts hold": """
        SELECT m.account_id, m.held_micros FROM account_months m
        LEFT JOIN casts c ON c.account_id = m.account_id AND c.status IN ('queued', 'running')
          AND date_trunc('month', c.accepted_at AT TIME ZONE 'UTC')::date = m.month
        GROUP BY m.account_id, m.month, m.held_micros HAVING m.held_micros <> coalesce(sum(c.held_micros), 0)""",
    "a month spent what its final casts cost": """
        SELECT m.account_id, m.spent_micros FROM account_months m
        LEFT JOIN casts c ON c.account_id = m.account_id
          AND date_trunc('month', c.accepted_at AT TIME ZONE 'UTC')::date = m.month
        GROUP BY m.account_id, m.month, m.spent_micros HAVING m.spent_micros <> coalesce(sum(c.cost_micros), 0)""",
    "an account counts its open casts and those on the wire": """
        SELECT a.id, a.open_casts, a.on_wire_default, a.on_wire_large FROM accounts a
        LEFT JOIN casts c ON c.account_id = a.id AND c.status IN ('queued', 'running')
        GROUP BY a.id HAVING a.open_casts <> count(c.id)
          OR a.on_wire_default <> count(c.id) FILTER (WHERE c.on_wire AND c.pool = 'default')
          OR a.on_wire_large <> count(c.id) FILTER (WHERE c.on_wire AND c.pool = 'large')""",
    "a key with a bound counts its open casts": """
        SELECT k.id, k.open_casts FROM api_keys k
        LEFT JOIN casts c ON c.key_id = k.id AND c.status IN ('queued', 'running')
        WHERE k.open_casts_max IS NOT NULL
        GROUP BY k.id HAVING k.open_casts <> count(c.id)""",
    "a grant holds what open casts took of it": """
        SELECT g.id, g.held_micros FROM credit_grants g
        LEFT JOIN (
          SELECT part.grant_id, sum(part.micros) AS micros FROM casts c
          CROSS JOIN LATERAL unnest(c.grant_ids, c.grant_micros) AS part(grant_id, micros)
          WHERE c.status IN ('queued', 'running') GROUP BY 1
        ) t ON t.grant_id = g.id WHERE g.held_micros <> coalesce(t.micros, 0)""",
    "each final cast has one usage event with its cost": """
        SELECT c.id FROM casts c LEFT JOIN usage_events u ON u.id = c.id
        WHERE (c.status NOT IN ('queued', 'running')) <> (u.id IS NOT NULL) OR u.cost_micros <> c.cost_micros""",
    "counters add up to the usage events": """
        SELECT a.id FROM accounts a
        LEFT JOIN (SELECT account_id, sum(cost_micros) AS cost, count(*) AS casts FROM usage_events GROUP BY 1) u
          ON u.account_id = a.id
        LEFT JOIN (SELECT account_id, sum(cost_micros) AS cost, sum(casts) AS casts FROM usage_days
                   WHERE dimension = 'account' AND period = 'day' GROUP BY 1) n ON n.account_id = a.id
        WHERE coalesce(u.cost, 0) <> coalesce(n.cost, 0) OR coalesce(u.casts, 0) <> coalesce(n.casts, 0)""",
    "the ledger moved what the casts cost": """
        SELECT a.id FROM accounts a
        LEFT JOIN (SELECT account_id, sum(cost_micros) AS cost FROM casts GROUP BY 1) c ON c.account_id = a.id
        LEFT JOIN (SELECT account_id, sum(amount_micros) AS moved FROM ledger_transfers
                   WHERE kind IN ('cast_fee', 'creator_share') GROUP BY 1) t ON t.account_id = a.id
        WHERE coalesce(c.cost, 0) <> coalesce(t.moved, 0)""",
    "the ledger sums to zero": """
        SELECT sum(micros) FROM (
          SELECT amount_micros AS micros FROM ledger_transfers
          UNION ALL SELECT -amount_micros FROM ledger_transfers) s HAVING sum(micros) <> 0""",
    "a test cast moved nothing and is counted apart": """
        SELECT a.id FROM accounts a
        LEFT JOIN (SELECT account_id, count(*) AS casts FROM casts
                   WHERE funding = 'test' AND status NOT IN ('queued', 'running') GROUP BY 1) c ON c.account_id = a.id
        LEFT JOIN (SELECT account_id, sum(casts) AS casts, sum(cost_micros) AS cost FROM usage_days
                   WHERE dimension = 'account' AND period = 'day' AND funding = 'test' GROUP BY 1) n
          ON n.account_id = a.id
        WHERE coalesce(c.casts, 0) <> coalesce(n.casts, 0) OR coalesce(n.cost, 0) <> 0""",
    "what is held and spent belongs to an account and a budget there is": """
        SELECT w.id FROM budget_windows w LEFT JOIN budgets b ON b.id = w.budget_id AND b.account_id = w.account_id
        LEFT JOIN accounts a ON a.id = w.account_id WHERE b.id IS NULL OR a.id IS NULL
        UNION ALL SELECT account_id FROM account_months WHERE account_id NOT IN (SELECT id FROM accounts)
        UNION ALL SELECT account_id FROM usage_counters WHERE account_id NOT IN (SELECT id FROM accounts)""",
    "no hard limit is passed by what is spent and held": """
        SELECT id FROM budget_windows WHERE spent_micros + held_micros > hard_limit_micros""",
}


async def broken(database_url: str, *, limits_lowered: bool = False) -> dict[str, list[tuple]]:
    """Return the invariants that do not hold, each with the rows that break it."""
    found: dict[str, list[tuple]] = {}
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        for name, query in BROKEN.items():
            if limits_lowered and name.startswith("no hard limit"):
                continue
            rows = await (await connection.execute(query.encode())).fetchall()
            if rows:
                found[name] = rows
    return found
