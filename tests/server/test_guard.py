import pytest
from tests.server.clients import png

TOKEN = "0123456789abcdef0123"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:1", 200),
        ("localhost:8000", 200),
        ("LocalHost", 200),
        ("[::1]:8000", 200),
        ("192.0.2.7", 200),
        ("evil.example", 421),
        ("evil.example:8000", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("0x7f000001", 421),
        ("", 400),
        ("a b", 400),
        ("127.0.0.1:80:80", 400),
        ("evil.example@127.0.0.1", 400),
    ],
)
def test_a_name_that_was_made_to_lead_here_is_refused(host, status, server):
    assert server.ask("/v1/models", Host=host).status == status


def test_allowed_names_are_answered(start):
    server = start(allow_host=("Masks.example",))
    assert server.ask("/v1/models", Host="masks.example:443").status == 200
    assert server.ask("/v1/models", Host="other.example").status == 421


def test_a_request_with_two_hosts_or_none_is_refused(server):
    for hosts in (b"", b"Host: localhost\r\nHost: evil.example\r\n"):
        with server.connect() as connection:
            connection.sendall(b"GET /v1/model HTTP/1.1\r\n%b\r\n" % hosts)
            assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://127.0.0.1:8000"}, 200),
        ({"Origin": "https://127.0.0.1:8000"}, 200),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "none"}, 200),
        ({"Origin": "http://127.0.0.1:8001"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:8000.evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
    ],
)
def test_pages_of_other_sites_cannot_post(headers, status, server):
    before = len(server.predictor.seen)
    assert server.ask("/v1/mask", png(), Host="127.0.0.1:8000", **headers).status == status
    assert len(server.predictor.seen) - before == (status == 200)


def test_nothing_but_health_is_answered_without_the_token(start, tmp_path):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    server = start(token_file=tmp_path / "token")
    assert server.ask("/healthz").status == 200
    for path in ("/metrics", "/openapi.json", "/v1/models", "/nowhere"):
        assert server.ask(path).status == 401
    for given in ("", "Bearer", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer \xff"):
        reply = server.ask("/v1/mask", png(), Authorization=given)
        assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
        assert TOKEN not in reply.content.decode()
    assert server.predictor.seen == []
    assert server.ask("/v1/mask", png(), Authorization=f"Bearer {TOKEN}").status == 200


def test_with_a_token_any_name_is_answered_but_no_foreign_page(start, tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    server, token = start(token_file=tmp_path / "token"), f"Bearer {TOKEN}"
    assert server.ask("/v1/models", Host="masks.example", Authorization=token).status == 200
    reply = server.ask("/v1/models", Host="masks.example", Authorization=token, Origin="http://evil.example")
    assert reply.status == 403


@pytest.mark.parametrize(
    ("path", "mode", "destination", "status"),
    [("/", "navigate", "document", 200), ("/", "navigate", "iframe", 403), ("/", "no-cors", "image", 403)],
)
def test_a_link_of_another_site_leads_to_the_page_and_to_nothing_else(path, mode, destination, status, server):
    sent = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination}
    assert server.ask(path, **sent).status == status
    assert server.ask("/v1/models", **sent).status == 403
