"""What is in an export, file by file, and how far the making of it is."""

from typing import Final

import msgspec

from domain.model.zip_stream import ZipState

# An export is fetched within a week, or asked for again: a copy of everything should not lie about.
EXPORT_DAYS_MAX: Final = 7
# Enough for whoever lost one; more would keep many copies of the same data.
EXPORTS_KEPT_MAX: Final = 3
# What fails this often in one place fails for ever: a person must look.
ATTEMPTS_MAX: Final = 10
# Rows of a page whose rows are small: some 300 KiB.
ROWS_PER_PAGE_MAX: Final = 1_000
# Rows with texts of up to 64 KiB each.
LARGE_ROWS_PER_PAGE_MAX: Final = 50
# Inputs, outputs and logs of a page of casts; a single cast may have more, 19 MiB at most.
DATA_BYTES_PER_PAGE_MAX: Final = 4 << 20
PERCENT_DONE: Final = 100


class ExportFile(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of rows, in pages; the query `<name>_page` of `domain/store/privacy.sql` reads them."""

    name: str
    rows_per_page_max: int = ROWS_PER_PAGE_MAX
    share: int = 1
    """Its part of the whole work, for the progress shown."""
    by_cast: bool = False
    """About a row a cast: how far it is, is known from how many casts there are."""


FILES: Final = (
    ExportFile(name="account"),
    ExportFile(name="profile"),
    ExportFile(name="identities"),
    ExportFile(name="sessions"),
    ExportFile(name="device_logins"),
    ExportFile(name="keys"),
    ExportFile(name="spells"),
    ExportFile(name="spell_versions", rows_per_page_max=LARGE_ROWS_PER_PAGE_MAX),
    ExportFile(name="spell_prices"),
    ExportFile(name="budgets"),
    ExportFile(name="budget_windows"),
    ExportFile(name="months"),
    ExportFile(name="credits"),
    ExportFile(name="credit_orders"),
    ExportFile(name="credit_takebacks"),
    ExportFile(name="credit_history"),
    ExportFile(name="credit_consumptions"),
    ExportFile(name="auto_top_up"),
    ExportFile(name="billing"),
    ExportFile(name="idempotency_keys"),
    ExportFile(name="casts", share=60, by_cast=True),
    ExportFile(name="usage_events", share=20, by_cast=True),
    ExportFile(name="usage_counters"),
    ExportFile(name="ledger"),
    ExportFile(name="earnings"),
    ExportFile(name="refunds"),
    ExportFile(name="webhooks"),
    ExportFile(name="deliveries", rows_per_page_max=LARGE_ROWS_PER_PAGE_MAX),
    ExportFile(name="messages", rows_per_page_max=LARGE_ROWS_PER_PAGE_MAX),
    ExportFile(name="billing_runs"),
    ExportFile(name="invoices"),
    ExportFile(name="invoice_lines"),
    ExportFile(name="payout_account"),
    ExportFile(name="payout_runs"),
    ExportFile(name="payouts"),
    ExportFile(name="outbox"),
    ExportFile(name="audit"),
    ExportFile(name="exports"),
)


class ExportState(msgspec.Struct, frozen=True, kw_only=True):
    """Where the next piece begins. Whoever has this and the rows goes on, whoever made the pieces before."""

    zip: ZipState = ZipState()
    file: int = 0
    """Of FILES; behind the last one only the directory is missing."""
    part: int = 1
    """A file of a gigabyte is followed by another with the rest."""
    after: tuple[str, ...] | None = None
    """The key of the last row that is written; None: begin at the first."""
    rows: int = 0
    """Written of this file, in all its parts."""
    casts: int = 0
    """How many the account had when the export began."""
    done: bool = False

    @property
    def progress_percent(self) -> int:
        """How much is done, never less than a moment ago; 100 only of a whole archive."""
        if self.done:
            return PERCENT_DONE
        shares = [file.share for file in FILES]
        got = float(sum(shares[: self.file]))
        if self.file < len(FILES) and FILES[self.file].by_cast and self.casts:
            got += shares[self.file] * min(1.0, self.rows / self.casts)
        return min(PERCENT_DONE - 1, int(PERCENT_DONE * got / sum(shares)))


def file_name(name: str, part: int) -> str:
    """Return what a file is called in the archive."""
    return f"{name}.json" if part == 1 else f"{name}-{part}.json"
