"""Pictures of the running stack for the README: the graph of its newest run, and an answer of the chat.

Run, after `make demo`: make screenshots. Needs Chromium (make test installs it).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from urllib.parse import quote

from jobs.core.errors import InputMissingError
from local import running
from local.layout import default_layout
from local.rest import Airflow
from tools.chromium import Browser, browser

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
SETTLES_S = 2.0  # the graph moves into place, sources unfold
QUESTION = "What does NF4 stand for and why does QLoRA use it?"


def main() -> int:
    """Take both pictures. Raises InputMissingError if nothing runs."""
    layout = default_layout()
    airflow, chat = running.connect(layout), running.addresses(layout).get("chat")
    if airflow is None or chat is None:
        raise InputMissingError("Nothing runs here. Start it with: make demo")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with browser() as tab:
        _picture_of_chat(tab, chat)
        log_in(tab, airflow)
        _picture_of_graph(tab, airflow)
    return 0


def log_in(tab: Browser, airflow: Airflow) -> None:
    """As a person does: the page of the log-in, its two fields, its button."""
    tab.open(f"{airflow.url}/")
    tab.wait_for("document.querySelector('input[name=username]')")
    for name, value in (("username", airflow.user), ("password", airflow.password)):
        tab.fill(f"input[name={name}]", value)
    tab.evaluate("document.querySelector('button[type=submit]').click()")
    tab.wait_for("!location.pathname.includes('login') && document.querySelector('nav, [data-testid]')")


def _picture_of_chat(tab: Browser, url: str) -> None:
    tab.show_as(1100, 860)
    tab.open(url)
    tab.wait_for("document.querySelector('textarea')")
    tab.type_and_send(QUESTION)
    tab.wait_for_text("page 1")  # of the sources, which unfold
    time.sleep(SETTLES_S)
    tab.screenshot(IMAGES / "chat.png")


def _picture_of_graph(tab: Browser, airflow: Airflow) -> None:
    run_id = airflow.runs(running.DAG_ID)[0]["dag_run_id"]
    tab.show_as(1900, 480)
    tab.open(f"{airflow.url}/dags/{running.DAG_ID}/runs/{quote(run_id)}")
    for label in ("Show Graph (Press g)", "Collapse Details Panel"):
        tab.click_label(label)
    tab.wait_for("document.querySelectorAll('.react-flow__node').length > 10")
    tab.click_label("Fit View")
    time.sleep(SETTLES_S)
    tab.screenshot(IMAGES / "airflow-graph.png")


if __name__ == "__main__":
    sys.exit(main())
