"""Mistakes in prices, quotes, receipts and refunds: what was promised, and what is said of it afterwards."""

from tests.planted_faults.fault import fault

PRICE = "tests/domain/model/test_creator_price.py::"
FLOW = "tests/domain/flow/test_spell_prices.py::"
REFUND = "tests/domain/flow/test_refunds.py::"
HTTP = "tests/api/test_receipts.py::"
SDK = "tests/spell/sdk/test_receipts.py::"

_TODAYS_PRICE = (
    "coalesce((SELECT p.per_cast_micros FROM spell_prices p WHERE p.version_id = c.version_id"
    " ORDER BY p.number DESC LIMIT 1), c.creator_price_micros)"
)

FAULTS = (
    fault(
        "rise-without-notice",
        "A creator doubles the price while his callers sleep.",
        (
            "domain/model/creator_price.py",
            "-(-now_us // 1000) + PRICE_NOTICE_MS if rises else now_ms",
            "now_ms if rises else now_ms",
        ),
        tests=(
            f"{PRICE}test_a_rise_counts_after_the_notice_to_the_microsecond_and_a_fall_at_once",
            f"{PRICE}test_no_schedule_charges_above_the_hold_or_the_quote_or_without_notice",
            f"{FLOW}test_a_rise_counts_after_the_notice_and_never_for_what_was_accepted",
        ),
    ),
    fault(
        "notice-counted-from-before",
        "The last cast of a notice pays the new price, a part of a millisecond too early.",
        ("domain/model/creator_price.py", "-(-now_us // 1000) + PRICE_NOTICE_MS", "now_ms + PRICE_NOTICE_MS"),
        tests=(f"{PRICE}test_a_rise_counts_after_the_notice_to_the_microsecond_and_a_fall_at_once",),
    ),
    fault(
        "notice-begins-anew",
        "Who names the same price each week never has it come into force.",
        (
            "domain/model/creator_price.py",
            "    if not wanted.raises(NO_PRICE) if latest is None else wanted == latest.after:\n",
            "    if latest is None and not wanted.raises(NO_PRICE):\n",
        ),
        tests=(
            f"{PRICE}test_a_new_announcement_replaces_the_old_and_the_same_again_is_none",
            f"{FLOW}test_the_same_price_twice_is_said_once",
        ),
    ),
    fault(
        "accepted-cast-repriced",
        "A cast costs what its creator asks when it ends, not what was held.",
        (
            "domain/store/settlement.sql",
            "c.price_version, c.creator_price_micros,",
            f"c.price_version, {_TODAYS_PRICE},",
        ),
        tests=(f"{FLOW}test_a_rise_counts_after_the_notice_and_never_for_what_was_accepted",),
    ),
    fault(
        "price-from-memory",
        "Another api goes on holding the old price after the lower one was answered.",
        ("domain/model/admission.py", "self._prices.get(spec.version_id, spec.price)", "spec.price"),
        tests=(
            f"{PRICE}test_what_was_read_with_the_state_wins_over_what_the_edge_knew",
            f"{FLOW}test_a_fall_counts_for_the_next_cast_in_every_api",
        ),
    ),
    fault(
        "units-without-end",
        "A spell that counts too far charges more than was held.",
        ("domain/model/creator_price.py", "min(units, self.units_max)", "units"),
        tests=(
            f"{PRICE}test_each_part_is_due_and_units_end_at_their_most",
            f"{PRICE}test_no_schedule_charges_above_the_hold_or_the_quote_or_without_notice",
        ),
    ),
    fault(
        "units-believed",
        "A worker that lies takes money off a cast, or breaks the batch it is in.",
        ("domain/model/settlement.py", "not 0 <= event.units <= UNITS_MAX", "event.units is None"),
        tests=(f"{FLOW}test_units_that_cannot_be_are_parked",),
    ),
    fault(
        "quote-ignored",
        "A caller who was promised a price pays another.",
        (
            "domain/model/admission.py",
            "        if quote is not None:\n            price",
            "        if not quote:\n            price",
        ),
        ("domain/model/admission.py", "= quote.price, quote.creator_price", "= self._terms.price, NO_PRICE"),
        tests=(
            f"{PRICE}test_a_living_quote_prices_the_cast_and_a_dead_one_refuses_it",
            f"{PRICE}test_a_quotes_platform_price_is_the_one_it_was_made_under",
        ),
    ),
    fault(
        "quote-for-ever",
        "Whoever asked once casts at that price for ever.",
        ("domain/model/admission.py", "self._now_ms >= spec.quote.expires_ms", "self._now_ms < 0"),
        tests=(f"{PRICE}test_a_living_quote_prices_the_cast_and_a_dead_one_refuses_it",),
    ),
    fault(
        "quote-of-anybody",
        "One account sells its quotes to others.",
        ("api/casts/signing.py", "if quote.account_id != account_id:", "if quote.account_id == UUID(int=0):"),
        tests=(f"{HTTP}test_a_quote_is_for_whom_and_what_it_was_made",),
    ),
    fault(
        "quote-without-its-most",
        "A cast at quoted prices costs more than the quote said, because it asks for more fuel.",
        (
            "api/casts/request.py",
            "quote.max_price_micros if most is None else min(most, quote.max_price_micros)",
            "most",
        ),
        tests=(f"{HTTP}test_a_quote_keeps_its_price_when_the_price_has_risen",),
    ),
    fault(
        "receipt-with-an-unsigned-field",
        "A refund stands on the receipt and cannot be proved.",
        (
            "api/casts/receipts.py",
            "services.receipts.sign(msgspec.json.encode(receipt))",
            "services.receipts.sign(msgspec.json.encode(msgspec.structs.replace(receipt, refund=None)))",
        ),
        tests=(f"{HTTP}test_a_refund_is_made_once_and_told",),
    ),
    fault(
        "readable-part-believed",
        "A receipt is edited, and verified all the same.",
        (
            "spell/receipts.py",
            "    if bytes(signed.receipt) and _value(bytes(signed.receipt)) != _value(payload):\n",
            "    if not payload:\n",
        ),
        tests=(f"{SDK}test_a_field_that_was_changed_or_added_is_noticed",),
    ),
    fault(
        "any-key-signs-receipts",
        "Whoever holds the key of compiled modules writes receipts.",
        ("spell/receipts.py", ' and key.purpose in {"", "receipts"}', ""),
        tests=(f"{SDK}test_everything_else_is_refused_in_words",),
    ),
    fault(
        "signature-in-two-forms",
        "A signature can be rewritten into another that is accepted as well.",
        ("spell/core/ed25519.py", " or scalar >= _ORDER", ""),
        tests=("tests/spell/sdk/test_ed25519.py::test_a_signature_is_written_in_one_way_alone",),
    ),
    fault(
        "refunded-twice",
        "An operator who clicks twice pays twice.",
        ("domain/flow/refund_cast.py", "        return there, False\n", ""),
        ("domain/model/refund.py", 'uuid5(cast.id, f"refund|{row.id}")', "uuid4()"),
        ("domain/model/refund.py", "import UUID, uuid5\n", "import UUID, uuid4\n"),
        tests=(
            f"{REFUND}test_a_metered_cast_is_paid_back_once_and_the_creator_gives_his_share",
            f"{REFUND}test_of_many_at_once_one_pays_back",
        ),
    ),
    fault(
        "refund-forgets-the-creator",
        "The platform pays back what the creator keeps.",
        (
            "domain/model/refund.py",
            "        for row in transfers_of(ending, batch_id=cast.id)\n",
            '        for row in transfers_of(ending, batch_id=cast.id)\n        if row.kind == "cast_fee"\n',
        ),
        ("domain/flow/refund_cast.py", '== row.cost_micros, "all of it goes back"', '> 0, "some of it goes back"'),
        tests=(f"{REFUND}test_a_metered_cast_is_paid_back_once_and_the_creator_gives_his_share",),
    ),
    fault(
        "refund-keeps-the-credits",
        "The books owe credits that nobody can spend.",
        (
            "domain/flow/refund_cast.py",
            "    if cast.funding is Funding.CREDITS:\n",
            "    if cast.funding is Funding.FREE:\n",
        ),
        tests=(f"{REFUND}test_credits_go_back_to_the_grants_that_paid",),
    ),
    fault(
        "receipt-of-another-account",
        "Who knows an id reads a stranger's receipt.",
        (
            "domain/store/receipts.sql",
            "WHERE c.id = %(cast_id)s AND c.account_id = %(account_id)s",
            "WHERE c.id = %(cast_id)s AND %(account_id)s::uuid IS NOT NULL",
        ),
        tests=(
            f"{REFUND}test_a_cast_settled_before_batches_were_kept_has_a_receipt_too",
            "tests/api/test_access.py::test_every_route_answers_everybody_as_the_table_says",
        ),
    ),
)
