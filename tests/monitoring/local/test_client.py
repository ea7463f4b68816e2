"""The client says in one sentence why nothing was answered, from where, and whether anything was sent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from monitoring.errors import InputError, ReplayError
from monitoring.local.client import Client
from tests.ports import free_port


@contextmanager
def answering(content: bytes) -> Iterator[str]:
    """A server that reads one request, writes what it is told to, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(content)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "localhost",
        "https://127.0.0.1:8000",
        "http://",
        "http://:8000",
        "http://localhost:http",
        "http://localhost:99999",
        "http://[::1",
        "http://localhost:8000/models",
        "http://me:secret@localhost:8000",
        "",
    ],
)
def test_what_is_no_address_of_a_service_is_refused_with_one_that_is(url: str) -> None:
    with pytest.raises(InputError) as refused:
        Client(url)

    assert str(refused.value) == f"the address of the service is {url!r}, wanted http://HOST:PORT such as http://127.0.0.1:8000"


def test_a_service_that_does_not_run_is_said_with_its_address_and_what_to_do() -> None:
    url = f"http://127.0.0.1:{free_port()}"

    with pytest.raises(ReplayError) as failed:
        Client(url).followed_move("m")

    assert str(failed.value).startswith(f"no service answers at {url} (Connection refused): start one with `evergreen up`, or say where")
    assert "not known" not in str(failed.value)


@pytest.mark.parametrize("host", ["nosuch.invalid", "a..b", f"{'x' * 64}.invalid"])
def test_a_host_that_is_not_known_is_said_with_its_address(host: str) -> None:
    with pytest.raises(ReplayError, match=rf"^no service answers at http://{host}:8000 \(.+\): start one"):
        Client(f"http://{host}:8000/").post("/models/m/predict", {}, 0)


def test_a_connection_that_breaks_leaves_open_whether_it_was_done() -> None:
    with answering(b"") as url, pytest.raises(ReplayError) as failed:
        Client(url).post("/models/m/predict", {}, 0)

    assert str(failed.value).startswith(f"POST /models/m/predict at {url}: the connection broke (RemoteDisconnected(")
    assert "whether it was done is not known" in str(failed.value)


def test_what_speaks_no_http_is_no_service() -> None:
    with answering(b"SSH-2.0-OpenSSH_9.6\r\n") as url, pytest.raises(ReplayError) as failed:
        Client(url).post("/models/m/predict", {}, 0)

    assert str(failed.value) == f"what listens at {url} is no Evergreen: it answers POST /models/m/predict with no HTTP"


def test_metrics_that_are_refused_are_not_waited_for() -> None:
    with answering(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 9\r\n\r\nno key us") as url:
        client = Client(url)
        with pytest.raises(ReplayError) as failed, closing(client):
            client.followed_move("m")

    assert str(failed.value) == f"GET /metrics at {url} answered 401: no key us"


def test_a_busy_service_has_followed_no_move_yet() -> None:
    with answering(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n") as url, closing(Client(url)) as client:
        assert client.followed_move("m") == -1
