"""Mistakes in what creators earn: money that was never collected is paid out, or what was collected is not."""

from tests.planted_faults.fault import fault

SHARES = "tests/domain/flow/test_collect_shares.py::"
MODEL = "tests/domain/model/test_earnings.py::"

FAULTS = (
    fault(
        "invoice-collected-twice",
        "With each invoice that is paid creators get what those before it paid once more.",
        (
            "domain/store/earnings.sql",
            "FROM ledger_transfers WHERE source_id = %(account_id)s\n) AS rows",
            "FROM ledger_transfers WHERE false\n) AS rows",
        ),
        tests=(f"{SHARES}test_what_an_invoice_has_is_payable_once_it_is_paid",),
    ),
    fault(
        "carried-shares-forgotten",
        "What creators have of invoices below fifty cents is never theirs, although the next one collects it.",
        (
            "domain/store/earnings.sql",
            "c.total_cents > 0 AND (c.frozen_at, c.id) >= (i.frozen_at, i.id)",
            "c.total_cents > 0 AND c.id = i.id",
        ),
        tests=(f"{SHARES}test_what_was_carried_is_collected_with_the_next",),
    ),
    fault(
        "purchase-not-waited-for",
        "A creator buys credits with a stolen card, casts his own friend's spell, and is paid before the bank notices.",
        (
            "domain/model/earnings.py",
            "return None if funds.bought_at + COLLECTED_AFTER <= now else",
            "return None if funds.bought_at <= now else",
        ),
        tests=(f"{SHARES}test_a_purchase_is_payable_when_it_is_fourteen_days_old",),
    ),
    fault(
        "refunded-share-taken-twice",
        "A cast that is paid back after its invoice takes its share from that invoice and from the next.",
        ("domain/store/invoices.sql", "kind = 'refund_share' AND source_id IS NULL", "kind = 'refund_share'"),
        tests=(f"{SHARES}test_a_cast_that_is_paid_back_takes_its_share_from_where_it_is",),
    ),
    fault(
        "more-payable-than-collected",
        "What the platform gave away to a customer who never paid is paid to creators out of other people's money.",
        ("domain/model/earnings.py", "if due_micros > collected_micros:", "if due_micros < 0:"),
        tests=(f"{SHARES}test_what_was_never_paid_and_paid_back_makes_no_more_payable_than_was_collected",),
    ),
    fault(
        "lost-part-rounded-down",
        "Of a purchase that was refunded creators together keep more than what is still paid for.",
        (
            "domain/model/earnings.py",
            "return -(-net_micros * back // used_price)",
            "return net_micros * back // used_price",
        ),
        tests=(
            f"{MODEL}test_of_a_used_part_that_went_back_a_creator_loses_his_part_rounded_up",
            f"{MODEL}test_whatever_happened_one_look_is_enough_and_all_keep_no_more_than_is_paid_for",
        ),
    ),
    fault(
        "won-dispute-kept-from-creators",
        "The platform wins the dispute and keeps what it had taken from creators for it.",
        (
            "domain/flow/take_back.py",
            "grant_id=grant.id, now=now)\n    return msgspec",
            "grant_id=grant.id, now=now) if not order else None\n    return msgspec",
        ),
        tests=(f"{SHARES}test_a_dispute_takes_all_and_one_that_is_won_gives_it_back",),
    ),
)
