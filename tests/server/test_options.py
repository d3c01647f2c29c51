import socket

import pytest

from maskpencil.errors import ConfigError
from maskpencil.parsing import is_local
from maskpencil.server.options import ServeOptions, listening_socket


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_addresses_of_this_computer_need_no_token(host):
    assert is_local(host)
    assert ServeOptions(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "masks.example", "127.0.0.1.example"])
def test_other_addresses_need_a_token_or_an_open_word(host, tmp_path):
    with pytest.raises(ConfigError, match=r"^--host .*lets other computers use the server; give --token-file FILE"):
        ServeOptions(host=host)
    assert ServeOptions(host=host, open=True).host == host
    assert ServeOptions(host=host, token_file=str(tmp_path)).token_file == tmp_path


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"port": 65536}, "--port must be a whole number from 0 to 65535, but got 65536"),
        ({"port": "8000"}, "--port must be a whole number"),
        ({"queue": 0}, "--queue must be a whole number from 1 to 10000"),
        ({"max_body": 0}, "--max-body must be"),
        ({"max_pixels": 0}, "--max-pixels must be"),
        ({"timeout": 0}, "--timeout must be a number from 0.1 to 3600"),
        ({"open": 1}, "--open must be"),
        ({"host": 3}, "--host must be"),
        ({"allow_host": "name"}, "--allow-host must be names of hosts, but got 'name'"),
        ({"open": True, "token_file": "token"}, "--open and --token-file exclude each other"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(settings, message):
    with pytest.raises(ConfigError) as caught:
        ServeOptions(**settings)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "the token cannot be read (No such file or directory); write one with: openssl rand -hex 32 > "),
        (
            b"",
            "does not hold a token; expected one line of at least 16 ASCII characters without spaces; write one with",
        ),
        (b"short\n", "does not hold a token"),
        (b"two words that are long enough", "does not hold a token"),
        (b"one-line-that-is-long\nanother-line-that-is-long", "does not hold a token"),
        ("lang-genug-aber-mit-ü".encode(), "does not hold a token"),
        (b"x" * 5000, "the token cannot be read (it is larger than"),
    ],
)
def test_a_file_without_a_token_is_refused(content, message, tmp_path):
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        ServeOptions(token_file=tmp_path / "token").read_token()
    assert str(caught.value).startswith(f"{tmp_path / 'token'}: {message}")
    assert "\n" not in str(caught.value)


def test_the_token_is_the_line_of_the_file(tmp_path):
    (tmp_path / "token").write_text("0123456789abcdef\r\n")
    assert ServeOptions(token_file=tmp_path / "token").read_token() == "0123456789abcdef"
    assert ServeOptions().read_token() is None


def test_a_port_in_use_is_refused_with_another():
    with listening_socket(ServeOptions(port=0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"^port {port} of 127\.0\.0\.1 is in use by another program; give"):
            listening_socket(ServeOptions(port=port))


def test_an_address_of_another_computer_cannot_be_listened_at():
    with pytest.raises(ConfigError, match=r"^cannot listen at port 0 of 192\.0\.2\.1 \("):
        listening_socket(ServeOptions(host="192.0.2.1", port=0, open=True))


def test_a_name_that_leads_to_other_computers_is_not_local(monkeypatch):
    elsewhere = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: elsewhere)
    with pytest.raises(ConfigError, match="--host localhost may be reachable from other computers"):
        listening_socket(ServeOptions(host="localhost", port=0))
