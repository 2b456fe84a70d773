"""Private data: what is found and what is left, kind by kind; addresses and numbers against regular expressions."""

import ipaddress
import re
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from castline import _C

KINDS = ("email", "ip", "phone", "key")


def mask(text: str, kind: Any = "text") -> str:
    (masked,), _ = _C.mask_private([text], kind)
    return text if masked is None else masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to jane.doe+x@mail.co.uk.", "write to <EMAIL>."),
        ("<bob@corp.com>,al_2@a-b.de", "<<EMAIL>>,<EMAIL>"),
        ("邮箱zhang.san@qq.com，谢谢", "邮箱<EMAIL>，谢谢"),
        ("mailto:Bob@CORP.COM?subject=x", "mailto:<EMAIL>?subject=x"),
        ("_jane@corp.com", "_<EMAIL>"),
    ],
)
def test_emails_are_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "bob@example.com al@mail.example.org x@test.invalid root@localhost me@host.local",
        "git@github.com:owner/name.git",
        "icon@2x.png react@18.2.0 @decorator @media(max) a @ b",
        "x = a@b.mean() + w@x.shape",
        "a.@corp.com @corp.com bob@corp bob@-corp.com bob@corp..com",
    ],
)
def test_what_only_looks_like_an_email_stays(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("from 93.184.216.34:80 to", "from <IP_ADDRESS>:80 to"),
        ("http://93.184.216.34/x", "http://<IP_ADDRESS>/x"),
        ("host=93.184.216.34", "host=<IP_ADDRESS>"),
        ("Host is 93.184.216.34.", "Host is <IP_ADDRESS>."),
        ("[2a00:1450:4001:81b::200e]:443", "[<IP_ADDRESS>]:443"),
        ("2606:2800:220:1:248:1893:25c8:1946 ok", "<IP_ADDRESS> ok"),
    ],
)
def test_addresses_are_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1 10.1.2.40 192.168.1.44 172.16.99.1 169.254.1.99 0.0.0.0 255.255.255.0 224.0.0.251",
        "8.8.8.8 1.1.1.1 203.0.113.77 198.51.100.99 192.0.2.99",
        "v1.2.3.40 version 1.2.3.40 Version: 6.1.7601.99 Chrome/91.0.44.124 lib-1.2.3.44 pip==1.2.3.99",
        "section 1.2.3.4, 1.3.6.1.4.1.99, 300.1.2.3, 01.2.3.99, 1.2.3.99a",
        "AssemblyVersion(\"1.2.3.99\") __version__ = '1.2.3.99'",
        "published in 2008::\n\n 2001:db8::1 fe80::1 ::1 std::a::b 12:34:56 2024:01 a:2001:bd:: 2024:2024",
    ],
)
def test_what_only_looks_like_an_address_stays(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("+86 138 0013 8000", "<PHONE>"),
        ("call +1 (415) 555-2671.", "call <PHONE>."),
        ("+4915112345678", "<PHONE>"),
        ("电话：13800138001，", "电话：<PHONE>，"),
        ("138-0013-8001 or 138 0013 8001", "<PHONE> or <PHONE>"),
        ("座机010-62345678", "座机<PHONE>"),
        ("0755-83765566", "<PHONE>"),
        ("(415) 555-2671, 415-555-2671, 415.555.2671, 1-800-555-2671", "<PHONE>, <PHONE>, <PHONE>, <PHONE>"),
    ],
)
def test_phones_are_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "17179869184 bytes, 15000000000, 138001380012, 1.13800138001, id-13800138001, 13800138001.5",
        "415-555-0123 is fiction; 2024-05-01 12:30; 978-3-16-148410-0; 123-456-7890",
        "1+4915112345678 +2023-01-01 12:30 +1 2 3 4 5 6 7 8 9 0",
        "0123456789 010-12345678 05-1234567",
        'used=15482871808, {"total_bytes": 15032385536, "free":18626220032}',
    ],
)
def test_what_only_looks_like_a_phone_stays(text: str) -> None:
    assert mask(text) == text


def test_numbers_in_code_are_numbers() -> None:
    assert mask("x = [13800138001, 415-555-2671]; y = +4915112345678", "code") == (
        "x = [13800138001, 415-555-2671]; y = +4915112345678"
    )
    assert mask('"tel:+4915112345678" # +49 151 1234 5678', "code") == '"tel:<PHONE>" # <PHONE>'


RANDOM = "aZ3kP9xQ2mB7vL5nR8tY1wE4"
BODY = "MIIEowIBAAKCAQEAx9y2k3jh4g5f6d7s8a9q0w1e2r3t4y5u6i7o8p9a0s1d2f3g"
PAYLOAD = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("id AKIA2E3R4T5Y6U7I8O9P;", "id <KEY>;"),
        (f"ghp_{RANDOM}0123456789ab", "<KEY>"),
        (f"xoxb-1234567890-{RANDOM}", "<KEY>"),
        (f"sk-{RANDOM}{RANDOM}", "<KEY>"),
        (f"glpat-{RANDOM[:20]}", "<KEY>"),
        (f"AIza{RANDOM}Qq1Ww2Ee3Rr", "<KEY>"),
        (f"token {PAYLOAD} end", "token <KEY> end"),
        (f"a\n-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n{BODY}==\n-----END RSA PRIVATE KEY-----\nb", "a\n<KEY>\nb"),
        (f"-----BEGIN PRIVATE KEY-----\\n{BODY}\\n-----END PRIVATE KEY-----\\n", "<KEY>\\n"),
        ("postgres://bob:s3cr3t!pw@db.host.com/x", "postgres://bob:<KEY>@db.host.com/x"),
        (f'API_KEY = "{RANDOM}"', 'API_KEY = "<KEY>"'),
        (f"'client-secret': '{RANDOM}'", "'client-secret': '<KEY>'"),
        (f"SECRET_KEY={RANDOM}\n", "SECRET_KEY=<KEY>\n"),
        (f"Authorization: Bearer {RANDOM}\n", "Authorization: Bearer <KEY>\n"),
        (f"config['token'] = '{RANDOM}'", "config['token'] = '<KEY>'"),
    ],
)
def test_keys_are_masked(text: str, masked: str) -> None:
    assert mask(text, "code") == masked


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7EXAMPLE AKIA1234 MAKIA2E3R4T5Y6U7I8O9P",
        'password = "hunter2"; token = "bert-base-uncased"; secret = get_secret_value_from_environment()',
        '"integrity": "sha512-aZ3kP9xQ2mB7vL5nR8tY1wE4"; commit = "3f786850e387550fdab836ed7e6dc881de23001b"',
        'token_sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"',
        "https://user:password@host.com/ https://$USER:${PASS}@host.com/",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "-----BEGIN CERTIFICATE-----\nMIIEowIBAAKCAQEAx9y2k3jh4g5f6d7s8a9q0w1e2r3t4y5u6i7o8p9a0s1d2f3g",
        "the_token_is = some_long_variable_name_2_1; risk-free sk-learn task_live_x",
    ],
)
def test_what_only_looks_like_a_key_stays(text: str) -> None:
    assert mask(text, "code") == text


def test_only_the_kinds_asked_for() -> None:
    text = "bob@corp.com 93.184.216.34"
    masked, counts = _C.mask_private([text, "nothing"], kinds=["ip"])
    assert masked == ["bob@corp.com <IP_ADDRESS>", None]
    assert counts.tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]
    with pytest.raises(ValueError, match=r"expected a kind \(email, ip, phone, key\), but got 'name'"):
        _C.mask_private([text], kinds=["name"])


EMAIL = re.compile(
    r"(?<![\w.%+-])[a-z0-9](?:[\w.%+-]*[\w%+-])?@(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+(?:com|de|org)(?![\w.(-])",
    re.ASCII,
)
PIECES = st.sampled_from([*"ab1@.-_+% (\n", "com", "de", "org", "x.com", "a@b", "é", "汉", "@x.de"])


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join))
def test_every_plain_email_is_masked(text: str) -> None:
    masked = mask(text)
    for found in EMAIL.finditer(text):
        if len(found[0]) < 60 and not found[0].startswith("git@"):
            assert found[0] not in re.split(r"[\s(]", masked), text


RESOLVERS = ("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "114.114.114.114")


@settings(max_examples=500, deadline=None)
@example((114, 114, 114, 114), "at ", "")
@given(
    st.tuples(*[st.integers(0, 299)] * 4),
    st.sampled_from(["at ", "(", "=", "//"]),
    st.sampled_from(["", ":80", " ", "."]),
)
def test_ipv4_agrees_with_the_standard_library(parts: tuple[int, ...], before: str, behind: str) -> None:
    address = ".".join(map(str, parts))
    assume(parts[:3] != (192, 0, 0))  # Python's versions differ on single addresses of it
    try:
        routed = ipaddress.IPv4Address(address).is_global and not ipaddress.IPv4Address(address).is_multicast
    except ValueError:
        routed = False
    routed = routed and not ipaddress.IPv4Address(address).is_reserved and address not in RESOLVERS
    found = mask(before + address + behind) == f"{before}<IP_ADDRESS>{behind}"
    assert found == (routed and max(parts) >= 32)


ANYTHING = st.binary(max_size=200) | st.lists(
    PIECES | st.sampled_from([*"0123456789:=AJ-", "eyJ", "://"]), max_size=60
).map(lambda pieces: "".join(pieces).encode())


@settings(max_examples=300, deadline=None)
@given(ANYTHING)
def test_masking_is_stable_and_counts_what_it_replaces(data: bytes) -> None:
    (masked,), counts = _C.mask_private([data])
    if masked is None:
        assert not counts.any()
        return
    placeholders = ("<EMAIL>", "<IP_ADDRESS>", "<PHONE>", "<KEY>")
    text = data.decode("utf-8", "replace")
    assert [masked.count(name) - text.count(name) for name in placeholders] == counts[0].tolist()
