"""Only who listens is told, and a middleware that is added later listens too."""

from collections.abc import Callable

import dramatiq
import pytest
from dramatiq.middleware import Middleware, MiddlewareError

from workers.broker import StreamsBroker

MakeBroker = Callable[..., StreamsBroker]


class Hears(Middleware):
    """Writes down what it was told."""

    def __init__(self, name: str, heard: list[str]) -> None:
        self.name = name
        self.heard = heard

    def before_enqueue(self, broker: dramatiq.Broker, message: object, delay: int | None) -> None:
        del broker, message, delay
        self.heard.append(f"before {self.name}")

    def after_enqueue(self, broker: dramatiq.Broker, message: object, delay: int | None) -> None:
        del broker, message, delay
        self.heard.append(f"after {self.name}")


class Fails(Middleware):
    """Raises what it was given."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def before_enqueue(self, broker: dramatiq.Broker, message: object, delay: int | None) -> None:
        del broker, message, delay
        raise self.error


def send(broker: StreamsBroker) -> None:
    broker.emit_before("enqueue", object(), None)
    broker.emit_after("enqueue", object(), None)


def test_in_order_before_and_in_reverse_after(make_broker: MakeBroker) -> None:
    heard: list[str] = []
    broker = make_broker(middleware=[Hears("one", heard), Middleware(), Hears("two", heard)])
    send(broker)
    assert heard == ["before one", "before two", "after two", "after one"]


def test_one_added_after_the_first_signal_listens_too(make_broker: MakeBroker) -> None:
    heard: list[str] = []
    broker = make_broker(middleware=[Hears("one", heard)])
    send(broker)
    broker.add_middleware(Hears("late", heard), before=Hears)
    heard.clear()
    send(broker)
    assert heard == ["before late", "before one", "after one", "after late"]


def test_a_method_set_on_the_middleware_itself_is_called(make_broker: MakeBroker) -> None:
    middleware, heard = Middleware(), list[str]()
    middleware.before_enqueue = lambda *_: heard.append("set")
    send(make_broker(middleware=[middleware]))
    assert heard == ["set"]


def test_a_failure_is_logged_and_the_others_are_told(make_broker: MakeBroker, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []
    send(make_broker(middleware=[Fails(ValueError("broken")), Hears("other", heard)]))
    assert heard == ["before other", "after other"]
    assert "Unexpected failure in before_enqueue" in caplog.text


def test_a_middleware_error_comes_through(make_broker: MakeBroker) -> None:
    with pytest.raises(MiddlewareError, match="no"):
        send(make_broker(middleware=[Fails(MiddlewareError("no"))]))
