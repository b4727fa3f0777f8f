"""Webhooks reach public receivers and nothing else, however the URL, the names or the receiver try."""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from domain.model.delivery import Answer
from domain.model.webhook_url import Address
from gateways.names import Names, UnknownNameError
from gateways.webhook_http import BODY_BYTES_KEPT, WebhookClient
from tests.gateways.certificates import Authority
from tests.workers.receiver import GIBIBYTE, receiving

HERE = (ip_network("127.0.0.0/8"),)
BODY = b'{"type":"webhook.test"}'
HEADERS = {"content-type": "application/json", "webhook-id": "evt_1"}


class Book:
    """Names and their addresses; a name with several lists gives one after the other, as a rebinding server does."""

    def __init__(self, **addresses: Sequence[Sequence[str]]) -> None:
        self._addresses = {name: list(lists) for name, lists in addresses.items()}
        self.asked: list[str] = []

    async def resolve(self, host: str) -> Sequence[Address]:
        self.asked.append(host)
        lists = self._addresses.get(host.replace(".", "_").replace("-", "_"))
        if not lists:
            message = "Domain name not found"
            raise UnknownNameError(message)
        return [ip_address(text) for text in (lists.pop(0) if len(lists) > 1 else lists[0])]


async def post(url: str, *, seconds_max: float = 300.0) -> Answer:
    """Post to a receiver on this machine, with enough time for a busy one."""
    client = WebhookClient(Book().resolve, private_allowed=HERE, seconds_max=seconds_max)
    return await client.post(url, headers=HEADERS, body=BODY)


async def test_a_receiver_gets_exactly_what_is_sent() -> None:
    async with receiving() as receiver:
        answer = await post(receiver.url("/in?key=a%20b&c=d"))
    assert answer == Answer(status_code=200, body=b"done")
    assert answer.delivered
    (request,) = receiver.received
    assert (request.path, request.body) == ("/in?key=a%20b&c=d", BODY)
    assert request.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "user-agent": "Spell-Platform-Webhooks/1",
        "accept": "*/*",
        "connection": "close",
        "content-length": str(len(BODY)),
        **HEADERS,
    }


@pytest.mark.parametrize("path", ["/redirect", "/moved"])
async def test_a_redirect_is_an_answer_and_not_followed(path: str) -> None:
    async with receiving() as receiver:
        answer = await post(receiver.url(path))
        assert answer.status_code is not None
        assert 300 <= answer.status_code < 400
        assert not answer.delivered
    assert receiver.paths() == [path]


async def test_no_proxy_and_no_cookie_is_taken_from_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    client = WebhookClient(Book().resolve, private_allowed=HERE, seconds_max=300.0)
    async with receiving() as receiver:
        for _ in range(2):
            assert (await client.post(receiver.url("/cookie"), headers=HEADERS, body=BODY)).delivered
    assert receiver.connections == 2
    assert all("cookie" not in request.headers for request in receiver.received)


async def test_a_body_without_end_is_cut_off_and_its_beginning_kept() -> None:
    async with receiving() as receiver:
        answer = await post(receiver.url("/gibibyte"))
    assert answer == Answer(status_code=200, body=b"x" * BODY_BYTES_KEPT)
    assert receiver.sent_bytes < GIBIBYTE // 16


async def test_headers_without_end_are_refused() -> None:
    async with receiving() as receiver:
        answer = await post(receiver.url("/headers"))
    assert answer.status_code is None
    assert answer.error is not None
    assert "not HTTP" in answer.error
    assert receiver.sent_bytes < GIBIBYTE // 16


@pytest.mark.parametrize("path", ["/hang", "/drip"])
async def test_who_does_not_answer_in_time_gets_no_more_of_it(path: str) -> None:
    async with receiving() as receiver:
        answer = await post(receiver.url(path), seconds_max=0.3)
    assert answer == Answer(error="no answer within 0.3 s")


async def test_who_takes_the_event_and_never_finishes_answering_has_it() -> None:
    async with receiving() as receiver:
        answer = await post(receiver.url("/dripbody"), seconds_max=10.0)
    assert answer.delivered
    assert answer.body == b"begun"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/reset", "not HTTP"),
        ("/gibberish", "not HTTP"),
        ("/informational", "not HTTP"),
        ("/switch", "not HTTP"),
    ],
)
async def test_what_is_no_answer_is_an_error(path: str, error: str) -> None:
    async with receiving() as receiver:
        answer = await post(receiver.url(path))
    assert (answer.status_code, answer.delivered) == (None, False)
    assert error in (answer.error or ""), answer.error


async def test_a_closed_port_is_an_error() -> None:
    async with receiving() as receiver:
        url = receiver.url("/")
    assert (await post(url)).error == "the connection was refused"


async def test_retry_after_is_read_as_seconds_and_as_a_date() -> None:
    async with receiving() as receiver:
        seconds, date = await post(receiver.url("/busy")), await post(receiver.url("/limited"))
    assert (seconds.status_code, seconds.retry_after_s) == (503, 7200)
    assert date.status_code == 429
    assert date.retry_after_s is not None
    assert date.retry_after_s > 10**8


EVIL = [
    *("http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com:70/_", "//example.com/"),
    *("https://user@example.com/", "https://user:secret@example.com/", "https://example.com/#part", "https:///path"),
    *("https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/"),
    *("https://0177.0.0.1/", "https://017700000001/", "https://127.0.0.1./", "https://0/", "https://0.0.0.0/"),
    *("https://10.0.0.1/", "https://172.16.0.1/", "https://192.168.0.1/", "https://100.64.0.1/", "https://198.18.0.1/"),
    *("https://169.254.169.254/latest/meta-data/", "https://192.0.0.192/", "https://224.0.0.1/", "https://240.0.0.1/"),
    *("https://255.255.255.255/", "https://192.0.2.1/", "https://192.88.99.1/", "https://[::]/", "https://[::1]/"),
    *("https://[::ffff:127.0.0.1]/", "https://[::ffff:a9fe:a9fe]/", "https://[::127.0.0.1]/", "https://[fe80::1]/"),
    *("https://[fe80::1%25eth0]/", "https://[fc00::1]/", "https://[fd00:ec2::254]/", "https://[fec0::1]/"),
    *("https://[64:ff9b::7f00:1]/", "https://[64:ff9b::a9fe:a9fe]/", "https://[64:ff9b:1::1]/", "https://[ff02::1]/"),
    *("https://[2002:7f00:1::]/", "https://[2002:a9fe:a9fe::1]/", "https://[2001:0:7f00:1::]/", "https://[3fff::1]/"),
    *("https://[2001:db8::1]/", "https://[100::1]/", "https://localhost/", "https://LOCALHOST/", "https://localhost./"),
    *("https://a.localhost/", "https://metadata.google.internal/", "https://printer.local/", "https://intranet/"),
    *("https://①②⑦.0.0.1/", "https://127。0。0。1/", "https://exa mple.com/", "https://example.com\\@127.0.0.1/"),
    *("https://example.com\r\nHost: x/", "https://127.0.0.1%00.example.com/", "https://%6c%6f%63alhost/"),
    *("https://[::1", "https://example.com:0/", "https://example.com:25/", "https://example.com:465/"),
    *("https://example.com:70000/", "https://example..com/", "https://-/", "https://" + "a" * 64 + ".com/"),
    *("https://private.example.com/", "https://mixed.example.com/", "https://mapped.example.com/"),
    *(
        "https://six.example.com/",
        "https://nat.example.com/",
        "https://empty.example.com/",
        "https://none.example.com/",
    ),
]


class Opened(Exception):  # noqa: N818  # the end of the way, and no error
    """Somebody was about to connect."""


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that were about to be connected to; nothing leaves this machine."""
    addresses: list[str] = []

    async def open_connection(host: str, *_: object, **__: object) -> None:
        addresses.append(host)
        raise Opened

    monkeypatch.setattr(asyncio, "open_connection", open_connection)
    return addresses


@pytest.mark.parametrize("url", EVIL)
async def test_an_evil_url_reaches_nothing(url: str, opened: list[str]) -> None:
    book = Book(
        example_com=[["127.0.0.1"]],
        private_example_com=[["10.1.2.3"]],
        mixed_example_com=[["8.8.8.8", "127.0.0.1"]],
        mapped_example_com=[["::ffff:127.0.0.1"]],
        six_example_com=[["2002:7f00:1::"]],
        nat_example_com=[["64:ff9b::7f00:1"]],
        empty_example_com=[[]],
    )
    answer = await WebhookClient(book.resolve, seconds_max=300.0).post(url, headers=HEADERS, body=BODY)
    assert opened == []
    assert answer.status_code is None
    assert answer.error
    assert not any(hint in answer.error for hint in ("127.", "10.1", "64:ff", "2002:"))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://public.example.com/", "8.8.8.8"),
        ("https://public.example.com.:8443/", "8.8.8.8"),
        ("https://1.1.1.1/", "1.1.1.1"),
        ("https://[2606:4700::1111]/", "2606:4700::1111"),
    ],
)
async def test_a_public_url_is_connected_to_at_the_address_that_was_judged(
    url: str, address: str, opened: list[str]
) -> None:
    book = Book(public_example_com=[["8.8.8.8"]])
    with pytest.raises(Opened):
        await WebhookClient(book.resolve, seconds_max=300.0).post(url, headers=HEADERS, body=BODY)
    assert opened == [address]


def test_there_are_many_evil_urls() -> None:
    assert len(set(EVIL)) == len(EVIL) >= 40


async def test_a_name_that_changes_its_address_is_reached_where_it_was_judged() -> None:
    """A rebinding server: at first an address that is allowed, later one that is not. Both listen on one port."""
    allowed = (ip_network("127.0.0.2/32"),)
    async with receiving("127.0.0.2") as good, receiving("127.0.0.1", good.port) as evil:
        book = Book(rebind_example_com=[["127.0.0.2"], ["127.0.0.1"], ["127.0.0.2", "127.0.0.1"]])
        client = WebhookClient(book.resolve, private_allowed=allowed, seconds_max=300.0)
        answers = [await client.post(good.url("/", "rebind.example.com"), headers=HEADERS, body=BODY) for _ in range(3)]
        assert [answer.delivered for answer in answers] == [True, False, False]
        assert book.asked == ["rebind.example.com"] * 3
        assert (good.connections, evil.connections) == (1, 0)
        assert good.received[0].headers["host"] == f"rebind.example.com:{good.port}"


async def test_a_name_with_a_dead_address_is_reached_by_the_next() -> None:
    async with receiving("127.0.0.2") as receiver:
        book = Book(two_example_com=[["127.0.0.3", "127.0.0.2"]])
        client = WebhookClient(book.resolve, private_allowed=HERE, seconds_max=300.0)
        answer = await client.post(receiver.url("/", "two.example.com"), headers=HEADERS, body=BODY)
    assert answer.delivered


async def test_plain_http_goes_to_allowed_networks_alone() -> None:
    client = WebhookClient(Book(public_example_com=[["8.8.8.8"]]).resolve, private_allowed=HERE)
    answer = await client.post("http://public.example.com/", headers=HEADERS, body=BODY)
    assert answer.error == "plain http is only for networks the operator allows; use https"


@pytest.mark.parametrize(
    ("trusted", "name", "error"),
    [
        (True, "hooks.example.com", None),
        (True, "other.example.com", "the certificate was not accepted"),
        (False, "hooks.example.com", "the certificate was not accepted"),
    ],
)
async def test_the_certificate_is_checked_for_the_name(
    tmp_path: Path, *, trusted: bool, name: str, error: str | None
) -> None:
    authority = Authority(tmp_path)
    book = Book(hooks_example_com=[["127.0.0.1"]], other_example_com=[["127.0.0.1"]])
    client = WebhookClient(
        book.resolve, private_allowed=HERE, tls=authority.client if trusted else None, seconds_max=30.0
    )
    async with receiving(tls=authority.server("hooks.example.com")) as receiver:
        answer = await client.post(receiver.url("/", name, "https"), headers=HEADERS, body=BODY)
    if error is None:
        assert answer.delivered
        assert receiver.received[0].headers["host"] == f"hooks.example.com:{receiver.port}"
    else:
        assert (answer.error or "").startswith(error)
        assert receiver.received == []


async def test_hundreds_at_once_share_nothing() -> None:
    client = WebhookClient(Book().resolve, private_allowed=HERE, seconds_max=300.0)
    async with receiving() as receiver:
        answers = await asyncio.gather(
            *(client.post(receiver.url(f"/{number}"), headers=HEADERS, body=BODY) for number in range(200))
        )
    assert [answer for answer in answers if not answer.delivered] == []
    assert sorted(receiver.paths()) == sorted(f"/{number}" for number in range(200))
    assert receiver.connections == 200


async def test_names_of_this_machine_are_known_and_unknown_ones_are_refused() -> None:
    async with Names() as names:
        assert ip_address("127.0.0.1") in await names.resolve("localhost")
        with pytest.raises(UnknownNameError):
            await names.resolve("a" * 64 + ".invalid")
