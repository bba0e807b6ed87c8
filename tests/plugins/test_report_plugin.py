"""The links that the report plugin puts into Airflow's navigation."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@pytest.mark.parametrize(
    ("env", "hrefs"),
    [
        ({}, []),
        ({"APP_URL": "http://app:7860"}, ["http://app:7860"]),
        ({"APP_URL": "http://app:7860", "APP_LINK": "http://127.0.0.1:1"}, ["http://127.0.0.1:1"]),
    ],
)
def test_link_to_the_app_is_what_a_browser_reaches(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], hrefs: list[str]
) -> None:
    from arxiv_report_plugin import app_views

    for name in ("APP_URL", "APP_LINK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert [view["href"] for view in app_views()] == hrefs
