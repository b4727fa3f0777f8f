"""The operator's commands, in the order `spell --help` shows them. A new command is a module and a line in the list."""

from typing import Final

import click

from operate.billing import billing
from operate.credits import credits as credits_
from operate.dead_letters import dead_letters
from operate.demo import demo
from operate.dev import dev
from operate.doctor import doctor
from operate.inbox import inbox
from operate.keys import keys
from operate.migrate import migrate
from operate.payouts import payouts
from operate.reconcile import reconcile
from operate.refund import refund
from operate.release import release
from operate.runtimes import runtimes
from operate.users import users

COMMANDS: Final[tuple[click.Command, ...]] = (
    demo,
    dev,
    doctor,
    migrate,
    release,
    runtimes,
    users,
    keys,
    credits_,
    billing,
    payouts,
    dead_letters,
    inbox,
    reconcile,
    refund,
)


def register(group: click.Group) -> None:
    """Add every command of the list to `group`; called by `spell` through its entry point."""
    for command in COMMANDS:
        group.add_command(command)
