"""The owner's account at Kaggle: where it is found, and that nothing shows it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from jobs.core.errors import UsageError
from jobs.corpus import kaggle_token

CANARY = "KGAT_canary0123456789"
PAIR = f"Basic {base64.b64encode(b'ada:canary-key').decode()}"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without an account."""
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kaggle").mkdir()
    return tmp_path


def write_pair(folder: Path) -> None:
    (folder / "kaggle.json").write_text(json.dumps({"username": "ada", "key": "canary-key"}))


def test_no_account_is_none() -> None:
    assert kaggle_token.authorization() is None


def test_token_of_the_environment_comes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pair(home / ".kaggle")
    monkeypatch.setenv("KAGGLE_API_TOKEN", f" {CANARY}\n")
    assert kaggle_token.authorization() == f"Bearer {CANARY}"


def test_token_may_be_a_files_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "token").write_text(f"{CANARY}\n")
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(home / "token"))
    assert kaggle_token.authorization() == f"Bearer {CANARY}"


def test_token_file_is_found_at_home(home: Path) -> None:
    (home / ".kaggle" / "access_token").write_text(CANARY)
    assert kaggle_token.authorization() == f"Bearer {CANARY}"


def test_name_and_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "ada")
    monkeypatch.setenv("KAGGLE_KEY", "canary-key")
    assert kaggle_token.authorization() == PAIR


def test_key_without_a_name_is_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an Airflow connection can hold either: a password alone, or a login with it."""
    monkeypatch.setenv("KAGGLE_KEY", CANARY)
    assert kaggle_token.authorization() == f"Bearer {CANARY}"


def test_name_without_a_key_is_no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "ada")
    assert kaggle_token.authorization() is None


def test_kaggle_json_is_found_at_home(home: Path) -> None:
    write_pair(home / ".kaggle")
    assert kaggle_token.authorization() == PAIR


def test_named_folder_is_looked_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "elsewhere").mkdir()
    write_pair(home / "elsewhere")
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(home / "elsewhere"))
    assert kaggle_token.authorization() == PAIR


@pytest.mark.parametrize("content", ['{"username": "ada", "canary": 1}', '"canary"', '{"key": canary}'])
def test_broken_kaggle_json_is_told_without_what_it_holds(home: Path, content: str) -> None:
    (home / ".kaggle" / "kaggle.json").write_text(content)
    with pytest.raises(UsageError, match="is not as Kaggle makes it") as caught:
        kaggle_token.authorization()
    assert "canary" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("token", ["canary with blanks", "canary\r\nX-Other: y", "canary\u00e9"])
def test_token_that_no_header_holds_is_told_without_it(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", token)
    with pytest.raises(UsageError, match="Make a token at https://www") as caught:
        kaggle_token.authorization()
    assert "canary" not in str(caught.value)


def test_very_long_token_is_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a file's name it would be too long, and the error would quote it."""
    monkeypatch.setenv("KAGGLE_API_TOKEN", "e" * 5000)
    assert kaggle_token.authorization() == f"Bearer {'e' * 5000}"
