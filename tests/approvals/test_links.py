"""Only a link that we made, to the letter, is a link."""

import string
from datetime import timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import Signer

from app.approvals.links import MAX_LINK, LinkSigner
from app.approvals.model import Holder
from app.errors import BadForm, StaleForm, UnknownLink
from tests.approvals.world import BASE_URL, KEY, NOW, OLDER_KEY, ring

HOLDER = Holder("koh3bbwkthboya2ubcsecarpam", 1, 0)
LINKS = LinkSigner(ring(), BASE_URL)
LINK = LINKS.sign(HOLDER)
#: what a link is made of, and what mangles it
ALPHABET = string.ascii_letters + string.digits + "-_.=+/%~ "


def refused(link: str, links: LinkSigner = LINKS) -> bool:
    """Whether *link* is answered as unknown, like every other bad link."""
    try:
        links.holder(link)
    except UnknownLink as unknown:
        return str(unknown) == str(UnknownLink())
    return False


def test_a_link_says_who_may_do_what() -> None:
    """Approval, recipient and action come out as they went in."""
    assert LINKS.holder(LINK) == HOLDER


def test_a_callback_is_no_link_and_a_link_no_callback() -> None:
    """Each opens its own door only, though both say the same."""
    data = LINKS.sign_callback(HOLDER)

    assert LINKS.callback_holder(data) == HOLDER
    assert refused(data)
    with pytest.raises(UnknownLink):
        LINKS.callback_holder(LINK)


def test_a_link_is_short_and_of_plain_characters() -> None:
    """Mail programs do not break it: one segment of unreserved characters, below 120 in all."""
    url = LINKS.url(Holder("a" * 26, 49, 9))

    assert url.startswith(BASE_URL + "/d/")
    assert len(url) - len(BASE_URL) < 120
    assert set(url.removeprefix(BASE_URL + "/d/")) <= set(
        string.ascii_letters + string.digits + "-_."
    )


def test_no_character_of_a_link_can_be_another_one() -> None:
    """Every position times every character: nothing but the link itself is accepted."""
    accepted = [
        (position, character)
        for position in range(len(LINK))
        for character in ALPHABET
        if character != LINK[position]
        and not refused(LINK[:position] + character + LINK[position + 1 :])
    ]

    assert accepted == []


def test_no_character_can_be_added_or_left_out() -> None:
    """Nothing before, behind, between; nothing missing."""
    for position in range(len(LINK) + 1):
        assert position == len(LINK) or refused(LINK[:position] + LINK[position + 1 :])
        for character in ALPHABET:
            assert refused(LINK[:position] + character + LINK[position:])


@pytest.mark.parametrize(
    "link",
    [
        "",
        ".",
        "....",
        "." * 10_000,
        "a" * 1_000_000,
        "..u3zm477p.",
        LINK + "=",
        LINK + "==",
        LINK + "\n",
        LINK.upper(),
        LINK.swapcase(),
        LINK.replace(".", "%2E"),
        LINK + "\u202e",
        "\ud800" + LINK,
        "\x00" + LINK,
        LINK.replace(".1.", ".01."),
        LINK.replace(".1.", ".+1."),
        LINK.replace(".1.", ".\u0661."),
        LINK.replace(".1.", ".1_0."),
        "eyJhbGciOiJub25lIn0.eyJpZCI6MX0.",
        ".eJyrVkrOT0lVslIqLU4tUqoFABVhBFk." + LINK,
    ],
)
def test_odd_links_are_unknown(link: str) -> None:
    """Whatever it is, it is answered like any other unknown link."""
    assert refused(link)


@given(st.text(max_size=MAX_LINK + 20))
def test_any_text_is_unknown(link: str) -> None:
    """No text makes the signer fail in another way."""
    assert refused(link)


@given(
    st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=26, max_size=26),
    st.integers(0, 49),
    st.integers(0, 9),
)
def test_every_link_holds_for_itself_only(approval_id: str, recipient: int, action: int) -> None:
    """Parts of two links do not make a third."""
    holder = Holder(approval_id, recipient, action)
    link = LINKS.sign(holder)

    assert LINKS.holder(link) == holder
    if holder != HOLDER:
        assert refused(link.rpartition(".")[0] + "." + LINK.rpartition(".")[2])


def test_recipient_and_action_cannot_be_swapped() -> None:
    """An approve link of one person is no reject link, and nobody else's."""
    for other in (Holder(HOLDER.approval_id, 0, 1), Holder("b" * 26, 1, 0)):
        value = LINKS.sign(other).rpartition(".")[0]
        assert refused(f"{value}.{LINK.rpartition('.')[2]}")


def test_the_key_of_a_link_comes_from_the_ring_only() -> None:
    """The key named in a link is looked up, nothing is loaded or guessed."""
    body, signature = LINK.rpartition(".")[0].rpartition(".")[0], LINK.rpartition(".")[2]
    for key_id in ("", "none", "../../etc/passwd", "u3zm477q", "x" * 10_000, "HS256"):
        assert refused(f"{body}.{key_id}.{signature}")


def test_another_key_signs_nothing_for_us() -> None:
    """A stranger's link is unknown, even when it names our key."""
    stranger = LinkSigner(ring(OLDER_KEY), BASE_URL)
    value = LINK.rpartition(".")[0]
    forged = Signer(OLDER_KEY, salt=b"signoff.link", key_derivation="hmac").sign(value).decode()

    assert refused(stranger.sign(HOLDER))
    assert refused(forged)


def test_older_keys_verify_and_the_newest_signs() -> None:
    """While two keys overlap, old links work and new ones carry the new key."""
    old = LinkSigner(ring(OLDER_KEY), BASE_URL).sign(HOLDER)
    both = LinkSigner(ring(KEY, OLDER_KEY), BASE_URL)

    assert both.holder(old) == HOLDER
    assert both.sign(HOLDER) == LINK
    assert refused(old, LinkSigner(ring(KEY), BASE_URL))


def test_a_form_nonce_holds_for_its_link_and_half_an_hour() -> None:
    """The form behind a link can be sent for 30 minutes, and once more after a reload."""
    nonce = LINKS.form_nonce(HOLDER, NOW)

    LINKS.check_form_nonce(HOLDER, nonce, NOW)
    LINKS.check_form_nonce(HOLDER, nonce, NOW + timedelta(minutes=30))
    LINKS.check_form_nonce(HOLDER, nonce, NOW - timedelta(seconds=60))
    with pytest.raises(StaleForm):
        LINKS.check_form_nonce(HOLDER, nonce, NOW + timedelta(minutes=30, milliseconds=1))
    with pytest.raises(StaleForm):
        LINKS.check_form_nonce(HOLDER, nonce, NOW - timedelta(seconds=61))


@pytest.mark.parametrize(
    "other",
    [Holder(HOLDER.approval_id, 0, 0), Holder(HOLDER.approval_id, 1, 1), Holder("b" * 26, 1, 0)],
)
def test_a_form_nonce_of_another_link_is_refused(other: Holder) -> None:
    """A form cannot be sent to another link than its own."""
    nonce = LINKS.form_nonce(other, NOW)

    with pytest.raises(BadForm):
        LINKS.check_form_nonce(HOLDER, nonce, NOW)


def test_no_character_of_a_nonce_can_be_another_one() -> None:
    """Every position times every character: no other nonce is accepted."""
    nonce = LINKS.form_nonce(HOLDER, NOW)
    for position in range(len(nonce)):
        for character in ALPHABET:
            if character != nonce[position]:
                with pytest.raises(BadForm):
                    LINKS.check_form_nonce(
                        HOLDER, nonce[:position] + character + nonce[position + 1 :], NOW
                    )


@given(st.text(max_size=120))
def test_any_text_is_a_bad_nonce(nonce: str) -> None:
    """No text makes the check fail in another way."""
    with pytest.raises(BadForm):
        LINKS.check_form_nonce(HOLDER, nonce, NOW)


def test_a_nonce_is_no_link_and_a_link_no_nonce() -> None:
    """Each signature is good for its own purpose only."""
    nonce = LINKS.form_nonce(HOLDER, NOW)
    value = LINK.rpartition(".")[0]

    assert refused(nonce)
    assert refused(f"{value}.{nonce.rpartition('.')[2]}")
    with pytest.raises(BadForm):
        LINKS.check_form_nonce(HOLDER, LINK, NOW)


def test_a_signature_is_what_itsdangerous_itself_would_make() -> None:
    """The quicker HMAC and the key that is derived once change nothing in the bytes."""
    plain = Signer(
        ring().newest.derive("link"),
        salt=b"signoff.link",
        key_derivation="hmac",
        digest_method=sha256,
    )

    value, _, signature = LINK.rpartition(".")

    assert signature == plain.get_signature(value).decode()
