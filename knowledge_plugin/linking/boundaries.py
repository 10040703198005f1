"""Where a mention may begin and end: at words, and within text that has no blanks between its words."""

from __future__ import annotations

import regex

# Scripts that put no blanks between words. Digits of theirs are not among it: a number is not cut.
_BLANKLESS = (
    r"[[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]&&[\p{L}\p{Nl}]--[\p{Extender}\u0e33\u0eb3]]"
)
# What goes on a letter and never begins a word: combining marks, signs that prolong or repeat (ー, 々, ๆ), and the
# vowel "am" of Thai and Lao. After the sign that stacks letters (Khmer, Myanmar), the letter too.
_GOES_ON = rf"(?:[\p{{M}}\u0e33\u0eb3[\p{{Extender}}&&\p{{Lm}}]]|(?<=[\u1039\u17d2]){_BLANKLESS})"

# A word with its combining marks (vowel signs of Indic scripts are marks), or one sign that is no blank.
_WORDS = regex.compile(r"[\w\p{M}]+|[^\w\p{M}\s]")
# The same, but each letter of a script without blanks is a word.
_LETTERS = regex.compile(rf"{_BLANKLESS}{_GOES_ON}*|[[\w\p{{M}}]--{_BLANKLESS}]+|[^\w\p{{M}}\s]", flags=regex.VERSION1)
# None of these scripts begins before Thai, and the letters of Europe all do: a range is found faster than a script.
_MAY_BE_BLANKLESS = regex.compile("[\u0e00-\U0010ffff]")
_HAS_BLANKLESS = regex.compile(_BLANKLESS, flags=regex.VERSION1)


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return start and end of each word and each sign of a text.

    A mention begins where one of them begins, and ends where one ends. Of Chinese, Japanese, Thai, Lao, Khmer and
    Burmese each letter, with what is written onto it, counts as a word: between two characters there is a boundary if
    either is such a letter. Digits stay together.

    Example:
        >>> [("東京 Tower 2"[start:end]) for start, end in word_spans("東京 Tower 2")]
        ['東', '京', 'Tower', '2']
    """
    # Most texts have none of these scripts, and are cut faster by the simpler pattern.
    plain = text.isascii() or _MAY_BE_BLANKLESS.search(text) is None or _HAS_BLANKLESS.search(text) is None
    return [match.span() for match in (_WORDS if plain else _LETTERS).finditer(text)]
