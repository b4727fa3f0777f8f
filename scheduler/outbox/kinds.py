"""The kinds of outgoing money, all of them. `scheduler.outbox` says how to add one."""

from collections.abc import Mapping
from typing import Final

from domain.model.outbox import OutboxKind
from scheduler.outbox.steps import MoneyKind

KINDS: Final[Mapping[OutboxKind, MoneyKind]] = {}
