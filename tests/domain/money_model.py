"""The whole of holding and settling in a hundred lines: what the database must agree with after every step."""

from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from domain.model.periods import Period, starts_on

WindowKey = tuple[UUID, date]


@dataclass
class ModelBudget:
    scope: str
    scope_id: UUID
    period: Period
    limit: int
    alive: bool = True


@dataclass
class ModelWindow:
    limit: int
    spent: int = 0
    held: int = 0


@dataclass
class ModelCast:
    hold: int
    key_id: UUID
    spell_id: UUID
    accepted_at: datetime
    windows: set[WindowKey]
    cost: int | None = None

    @property
    def open(self) -> bool:
        return self.cost is None


@dataclass
class MoneyModel:
    account_id: UUID
    budgets: dict[UUID, ModelBudget] = field(default_factory=dict)
    windows: dict[WindowKey, ModelWindow] = field(default_factory=dict)
    casts: dict[UUID, ModelCast] = field(default_factory=dict)

    def applying(self, key_id: UUID, spell_id: UUID, now: datetime) -> list[WindowKey]:
        """Return the windows a cast of this key and spell must have room in at `now`."""
        subject = {"account": self.account_id, "key": key_id, "spell": spell_id}
        found: list[WindowKey] = []
        for budget_id, budget in self.budgets.items():
            if budget.alive and subject[budget.scope] == budget.scope_id:
                key = (budget_id, starts_on(budget.period, now))
                self.windows.setdefault(key, ModelWindow(limit=budget.limit))
                found.append(key)
        return found

    def has_room(self, keys: list[WindowKey], hold: int) -> bool:
        return all(self.windows[key].spent + self.windows[key].held + hold <= self.windows[key].limit for key in keys)

    def accept(self, cast_id: UUID, cast: ModelCast) -> None:
        self.casts[cast_id] = cast
        for key in cast.windows:
            self.windows[key].held += cast.hold

    def end(self, cast_id: UUID, cost: int) -> None:
        """End an open cast; a final one does not change."""
        cast = self.casts[cast_id]
        if not cast.open:
            return
        cast.cost = cost
        for key in cast.windows:
            self.windows[key].held -= cast.hold
            self.windows[key].spent += cost

    def create_budget(self, budget_id: UUID, budget: ModelBudget, now: datetime) -> None:
        """Start a budget at what its scope spent and holds of the period."""
        self.budgets[budget_id] = budget
        start = starts_on(budget.period, now)
        window = self.windows[budget_id, start] = ModelWindow(limit=budget.limit)
        for cast in self.casts.values():
            subject = {"account": self.account_id, "key": cast.key_id, "spell": cast.spell_id}[budget.scope]
            if subject != budget.scope_id or starts_on(budget.period, cast.accepted_at) != start:
                continue
            window.spent += cast.cost or 0
            if cast.open:
                window.held += cast.hold
                cast.windows.add((budget_id, start))

    def change_limit(self, budget_id: UUID, limit: int, now: datetime) -> None:
        budget = self.budgets[budget_id]
        budget.limit = limit
        key = (budget_id, starts_on(budget.period, now))
        self.windows.setdefault(key, ModelWindow(limit=limit)).limit = limit
