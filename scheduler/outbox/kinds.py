"""The kinds of outgoing money, all of them. `scheduler.outbox` says how to add one."""

from collections.abc import Mapping
from typing import Final

from domain.flow.end_payout import end_payout
from domain.flow.freeze_invoice import FIRST_STEP
from domain.flow.freeze_payout import PAY_STEP
from domain.flow.open_invoice import open_invoice
from domain.flow.refund_order import REFUND_STEP, end_refund
from domain.flow.start_top_up import CHARGE_STEP, end_top_up
from domain.model.outbox import OutboxKind
from scheduler.outbox.invoice import INVOICE_STEPS, tell_end, tell_trouble
from scheduler.outbox.payout import PAYOUT_STEPS
from scheduler.outbox.payout import end_refused as end_payout_refused
from scheduler.outbox.payout import tell_end as tell_payout
from scheduler.outbox.payout import tell_trouble as tell_payout_trouble
from scheduler.outbox.refund import REFUND_STEPS
from scheduler.outbox.steps import MoneyKind, end_refused
from scheduler.outbox.topup import TOPUP_STEPS

KINDS: Final[Mapping[OutboxKind, MoneyKind]] = {
    OutboxKind.INVOICE: MoneyKind(
        first=FIRST_STEP, steps=INVOICE_STEPS, apply=open_invoice, tell_end=tell_end, tell_trouble=tell_trouble
    ),
    OutboxKind.REFUND: MoneyKind(first=REFUND_STEP, steps=REFUND_STEPS, apply=end_refund, refused=end_refused),
    OutboxKind.TOPUP: MoneyKind(first=CHARGE_STEP, steps=TOPUP_STEPS, apply=end_top_up, refused=end_refused),
    OutboxKind.PAYOUT: MoneyKind(
        first=PAY_STEP,
        steps=PAYOUT_STEPS,
        apply=end_payout,
        tell_end=tell_payout,
        tell_trouble=tell_payout_trouble,
        refused=end_payout_refused,
    ),
}
