"""Whose a spell is: the first part of its name."""

from api.auth import Principal
from domain.model.errors import Code, refuse


def check_owner(principal: Principal, owner: str) -> None:
    """Raise RefusedError (forbidden) for the spells of somebody else."""
    if principal.handle != owner:
        raise refuse(Code.FORBIDDEN, f"You are '{principal.handle}'; only '{owner[:50]}' can do this with its spells.")
