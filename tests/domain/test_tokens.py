import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.domain.tokens import estimate

VISIBLE = [*range(0x21, 0x7F), *range(0xA0, 0xD800, 61), *range(0xE000, 0x110000, 977)]

texts = st.text(st.characters(exclude_categories=[]), max_size=200)


@given(texts, texts)
def test_estimate_adds_up(left, right):
    """Text put together is as many tokens as its parts, up to the rounding."""
    assert abs(estimate(left + right) - estimate(left) - estimate(right)) <= 1


@given(texts, texts)
def test_estimate_never_falls_when_text_is_added(text, more):
    """A longer text is never fewer tokens: a stream's running estimate does not go back."""
    assert 0 <= estimate(text) <= estimate(text + more)


@given(texts)
def test_estimate_is_bounded_by_the_characters(text):
    """No character is more than two tokens, whatever it is; half of a surrogate pair too."""
    assert estimate(text) <= 2 * len(text)


@pytest.mark.parametrize("code", VISIBLE[::7])
def test_no_character_is_free(code):
    """A run of any visible character counts for something: nothing slips past a limit."""
    assert estimate(chr(code) * 10) >= 2


@pytest.mark.parametrize(
    ("text", "characters_per_token"),
    [
        ("The quick brown fox jumps over the lazy dog. " * 10, (3, 6)),
        ('{"name": "get_weather", "arguments": {"city": "Bern"}}\n' * 10, (2, 5)),
        ("Съешь же ещё этих мягких французских булок. " * 10, (2, 5)),
        ("人工智能正在改变世界的方方面面。" * 10, (1, 2)),
        ("오늘은 날씨가 정말 좋네요. " * 10, (1, 3)),
        ("🙂🚀" * 10, (0.5, 1)),
    ],
)
def test_estimate_is_of_the_right_size(text, characters_per_token):
    """Prose, JSON and scripts beyond Latin stay within the known span of characters per token."""
    fewest, most = characters_per_token

    assert len(text) / most <= estimate(text) <= len(text) / fewest


def test_nothing_is_no_token():
    """An empty text is free."""
    assert estimate("") == 0


@pytest.mark.parametrize("wide", ["漢", "語", "한", "あ", "🙂", "अ"])
def test_wide_scripts_weigh_more_than_latin(wide):
    """A character beyond Latin is at least one and a half times a Latin letter."""
    assert estimate(wide * 100) >= 1.5 * estimate("e" * 100)
