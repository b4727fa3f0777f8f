"""Requests of nobody we know: limited by their address, so that guessing at credentials costs us a bounded amount."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from api.admission.rate import Caller
from api.call import Call
from api.proxies import Proxies
from domain.model.errors import Code, Refusal, RefusedError

# Addresses that are kept from guessing; a forgotten one guesses once more before it is kept from it again.
BARRED_MAX: Final = 10_000


class Strangers:
    """Knows callers by their addresses, and which of them guess. `clock` counts seconds and never goes back.

    Who sends unknown credentials is a stranger like everybody without any. When such a request turns out to be over the
    address's rate, the address is barred until its rate allows another request: unknown credentials from there are
    refused before a hash or a row is read for them. Whom this process knows already does not notice.
    """

    def __init__(self, proxies: Proxies, *, rpm: int, clock: Callable[[], float]) -> None:
        self._proxies = proxies
        self._rpm = rpm
        self._clock = clock
        self._barred: OrderedDict[str, float] = OrderedDict()

    def address(self, call: Call) -> str:
        """Return whose request it is; see `Proxies.client_address`."""
        return self._proxies.client_address(call.client, call.headers)

    def caller(self, call: Call, *, weight: int = 1) -> Caller:
        """Return under which name requests of nobody we know are counted."""
        return Caller(f"address:{self.address(call)}", self._rpm, weight)

    def bar(self, call: Call, for_s: int) -> None:
        """Let the address try no unknown credentials for `for_s` seconds."""
        address = self.address(call)
        self._barred[address] = self._clock() + for_s
        self._barred.move_to_end(address)
        if len(self._barred) > BARRED_MAX:
            self._barred.popitem(last=False)

    def check(self, call: Call) -> None:
        """Raise RefusedError (429) when the address may not try unknown credentials now."""
        if not self._barred:
            return
        address = self.address(call)
        until = self._barred.get(address)
        if until is None:
            return
        left_s = until - self._clock()
        if left_s <= 0:
            del self._barred[address]
            return
        call.limited_by = "address"
        raise RefusedError(
            Refusal(
                code=Code.RATE_LIMITED,
                detail="Too many wrong keys or sessions came from this address. Wait, then send a living one.",
                retry_after_s=int(left_s) + 1,
            )
        )
