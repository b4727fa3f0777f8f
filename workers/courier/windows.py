"""How much may be in flight to each destination, as this courier has seen it answer. Another one learns it itself."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from domain.model.delivery import WINDOW_NEW, next_window

# All of it goes with every claim, so it is bounded; who is forgotten is met as if for the first time.
DESTINATIONS_MAX: Final = 1_024


class Windows:
    """The windows of the destinations heard of last."""

    def __init__(self) -> None:
        self._windows: Final[OrderedDict[str, int]] = OrderedDict()

    def learn(self, destination: str, *, answered: bool) -> None:
        """Note how one more delivery went."""
        self._windows[destination] = next_window(self._windows.get(destination, WINDOW_NEW), answered=answered)
        self._windows.move_to_end(destination)
        if len(self._windows) > DESTINATIONS_MAX:
            self._windows.popitem(last=False)

    @property
    def known(self) -> Mapping[str, int]:
        """The window of each destination that was heard of."""
        return self._windows
