"""API keys can be told from junk, and only their hashes are known."""

import string

import pytest

from app.approvals.api_keys import ApiKeys, api_key_entry, is_well_formed, new_api_key
from app.errors import StartRefused, Unauthorized

KEY = new_api_key()


def test_a_key_that_is_configured_is_accepted() -> None:
    """Each of several keys works, and is known by the start of its hash."""
    other = new_api_key()
    keys = ApiKeys([api_key_entry(KEY), api_key_entry(other)])

    assert keys.check(KEY) == api_key_entry(KEY)[7:19]
    assert keys.check(other) == api_key_entry(other)[7:19]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "sgn_",
        new_api_key(),
        KEY[:-1],
        KEY + "0",
        KEY.lower(),
        " " + KEY,
        "x" * 10_000,
        "\ud800é",
    ],
    ids=["nothing", "prefix", "another", "cut", "longer", "lower", "spaced", "huge", "surrogate"],
)
def test_other_keys_are_refused(key: str) -> None:
    """Anything else is refused in the same words."""
    with pytest.raises(Unauthorized):
        ApiKeys([api_key_entry(KEY)]).check(key)


def test_without_entries_no_key_is_accepted() -> None:
    """No configured key means nobody, not everybody."""
    with pytest.raises(Unauthorized):
        ApiKeys([]).check(KEY)


def test_a_typing_error_is_noticed_without_looking_anything_up() -> None:
    """The checksum tells a mistyped key from a real one."""
    assert is_well_formed(KEY)
    for position in range(len(KEY)):
        for character in string.ascii_letters + string.digits:
            if character != KEY[position]:
                assert not is_well_formed(KEY[:position] + character + KEY[position + 1 :])


def test_keys_of_other_origin_work_by_their_hash() -> None:
    """A key from a password manager has no checksum, but a hash."""
    key = "from-a-password-manager-Zt81"

    assert ApiKeys([api_key_entry(key)]).check(key) == api_key_entry(key)[7:19]


@pytest.mark.parametrize(
    "entry",
    ["", "secret", "sha256:", "sha256:" + "A" * 64, "sha256:" + "0" * 63, "md5:" + "0" * 64],
)
def test_a_wrong_entry_stops_the_start_without_being_shown(entry: str) -> None:
    """Somebody may have pasted the key itself."""
    with pytest.raises(StartRefused, match="SIGNOFF_API_KEYS: entry 2") as refusal:
        ApiKeys([api_key_entry(KEY), entry])

    assert len(entry) < 8 or entry not in str(refusal.value)


def test_keys_are_random_and_have_the_prefix() -> None:
    """A leaked key can be searched for by its prefix."""
    keys = {new_api_key() for _ in range(100)}

    assert len(keys) == 100
    assert {key[:4] for key in keys} == {"sgn_"}
