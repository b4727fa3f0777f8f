"""The net under the routes: a request that no rate was asked for is taken from one before it is answered.

So whatever the routes are and however they refuse (no such path or method, no credentials, a body that does not fit),
there is no answer that cannot be had too often, and none without the rate's headers.
"""

from typing import Final

from api.call import Call, call_of
from api.edge import App, Message, Receive, Scope, Send
from api.errors import problem
from api.guard import count_late
from api.services import Services
from domain.model.errors import Code, Refusal, RefusedError

_UNAUTHORIZED: Final = 401
_SERVER_ERROR: Final = 500


class Uncounted:
    """ASGI application around `app`, which sets `call.counted` where it asked for a rate or means to ask for none."""

    def __init__(self, app: App, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; lifespan events pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = call_of(scope)
        replaced = False

        async def send_counted(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and not call.counted and message["status"] < _SERVER_ERROR:
                try:
                    await count_late(
                        self._services, call, Code.UNAUTHORIZED if message["status"] == _UNAUTHORIZED else None
                    )
                except RefusedError as error:
                    replaced = True
                    await self._refuse(call, scope, send, error.refusal)
            if not replaced:
                await send(message)

        await self._app(scope, receive, send_counted)

    async def _refuse(self, call: Call, scope: Scope, send: Send, refusal: Refusal) -> None:
        call.error = refusal.code
        public_url = self._services.settings.public_url
        answer = problem(refusal, request_id=call.request_id, instance=scope["path"], public_url=public_url)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})
