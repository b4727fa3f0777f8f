"""What a row of the table is: two ways to do a thing, done in turns, and the ratio to reach."""

import statistics
from collections.abc import Callable, Mapping

import msgspec

Setting = int | float | str
Cores = tuple[int, int]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One side of one round."""

    per_second: float
    details: dict[str, float]
    """Whatever else was measured, by names that end with their unit."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison. `ours` and `peer` each set up what they need, measure, and leave nothing running."""

    name: str
    what: str
    against: str
    target: float
    settings: Mapping[str, Setting]
    ours: Callable[[Cores], Sample]
    peer: Callable[[Cores], Sample]
    unit: str = "/s"
    """Of what both sides measure."""


class RowResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the rounds of a row gave; sample i of both sides was measured in round i."""

    name: str
    what: str
    against: str
    target: float
    settings: dict[str, Setting]
    ours: list[Sample]
    peer: list[Sample]
    unit: str = "/s"

    @property
    def ratios(self) -> list[float]:
        """Ours to the peer, round by round: what disturbs the machine for longer than a round disturbs both."""
        return [ours.per_second / peer.per_second for ours, peer in zip(self.ours, self.peer, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.ratios)


def digits(rate: float) -> str:
    """Return `rate` as it is shown: whole, or with three digits where it is less than one."""
    return f"{rate:,.0f}" if rate >= 1 else f"{rate:.3g}"


def measure(row: Row, cores: Cores, *, rounds: int, report: Callable[[str], None]) -> RowResult:
    """Measure both sides of `row` in turns."""
    ours: list[Sample] = []
    peer: list[Sample] = []
    for number in range(1, rounds + 1):
        # Who goes second meets the caches and the disk as the first left them; so they take turns in that too.
        for is_ours in (True, False) if number % 2 else (False, True):
            sample = row.ours(cores) if is_ours else row.peer(cores)
            (ours if is_ours else peer).append(sample)
            side = "ours" if is_ours else "peer"
            details = ", ".join(f"{name} {value:,.4g}" for name, value in sample.details.items())
            report(f"{row.name} round {number} {side}: {digits(sample.per_second)}{row.unit} ({details})")
    return RowResult(
        name=row.name,
        what=row.what,
        against=row.against,
        target=row.target,
        settings=dict(row.settings),
        ours=ours,
        peer=peer,
        unit=row.unit,
    )
