"""Addresses of servers: what is made of them, and which are refused."""

import pytest

from muse.client.address import Address
from muse.errors import UsageError


@pytest.mark.parametrize(
    ("url", "websocket", "is_encrypted"),
    [
        ("http://127.0.0.1:7437", "ws://127.0.0.1:7437/v1", False),
        ("https://muse.example/", "wss://muse.example/v1", True),
        ("HTTPS://muse.example/band", "wss://muse.example/band/v1", True),
        ("Http://[::1]:80", "ws://[::1]:80/v1", False),
    ],
)
def test_the_live_address_follows_from_the_address(url: str, websocket: str, *, is_encrypted: bool) -> None:
    address = Address(url)
    assert address.websocket == websocket
    assert address.is_encrypted is is_encrypted


@pytest.mark.parametrize(
    "url",
    [
        "",
        "muse.example",
        "ftp://muse.example",
        "http://",
        "http://h:0",
        "http://h:x",
        "http://h/?a=1",
        "http://h/#a",
    ],
)
def test_what_is_no_address_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(UsageError, match=r"not the address of a server: use one such as http://"):
        Address(url)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="give a token instead") as error:
        Address("http://ada:secret@muse.example")
    assert "secret" not in str(error.value)
