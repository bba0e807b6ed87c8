"""What may be shown of a paper on a public app."""

import pytest

from jobs.retrieval.licences import MAX_QUOTE_CHARS, may_show_whole, shown_text


@pytest.mark.parametrize(
    "uri",
    [
        "http://creativecommons.org/licenses/by/4.0/",
        "https://creativecommons.org/licenses/by-sa/4.0/",
        "http://creativecommons.org/publicdomain/zero/1.0/",
        "http://creativecommons.org/licenses/by/3.0",
    ],
)
def test_permissive_licence_may_be_shown_whole(uri: str) -> None:
    assert may_show_whole(uri)


@pytest.mark.parametrize(
    "uri",
    [
        None,
        "",
        "http://arxiv.org/licenses/nonexclusive-distrib/1.0/",
        "http://creativecommons.org/licenses/by-nc-sa/4.0/",
        "http://creativecommons.org/licenses/by-nc-nd/4.0/",
        "http://creativecommons.org/licenses/by-nd/4.0/",
        "http://example.org/?http://creativecommons.org/licenses/by/4.0/",
    ],
)
def test_other_licence_may_not_be_shown_whole(uri: str | None) -> None:
    assert not may_show_whole(uri)


def test_public_text_without_permission_is_cut_between_words() -> None:
    text = "word " * 100
    shown = shown_text(text, None, is_public=True)
    assert len(shown) <= MAX_QUOTE_CHARS
    assert shown.endswith("word")


@pytest.mark.parametrize(("uri", "is_public"), [(None, False), ("http://creativecommons.org/licenses/by/4.0/", True)])
def test_text_at_home_or_with_permission_is_whole(uri: str | None, is_public: bool) -> None:
    assert shown_text("x" * 1000, uri, is_public=is_public) == "x" * 1000
