"""Links from Airflow to the chat app and to a small report of the lake, drawn from manifests alone.

The report is served by Airflow's own server at /arxiv/report. It reads LAKE.json, CURRENT and _MANIFEST.json of the
configured lake (environment LAKE, else the Variable): no dataset is opened, nothing of `jobs` is imported.
"""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow.plugins_manager import AirflowPlugin
from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse

COLUMNS = ("dataset", "part", "rows", "read", "kept", "dropped", "seconds", "made")
KEY_LENGTH = 12  # characters of the key in a folder's name

app = FastAPI(title="Spark-ArXiv report", docs_url=None, redoc_url=None, openapi_url=None)


async def signed_in(request: Request) -> None:
    """Refuse (401) whoever has no session of this Airflow: an app of a plugin is open to everybody otherwise."""
    from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
    from airflow.api_fastapi.core_api.security import resolve_user_from_token

    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    is_bearer = scheme.lower() == "bearer"
    await resolve_user_from_token(bearer if is_bearer else request.cookies.get(COOKIE_NAME_JWT_TOKEN))


@app.get("/report", response_class=HTMLResponse, dependencies=[Depends(signed_in)])
def report() -> str:
    """The page: what the configured lake holds, and what was dropped for which reason."""
    lake = lake_folder()
    if lake is not None and ":/" in str(lake):
        said = "is on an object store, which this page does not read. Look at it with: python -m jobs list --lake …"
        return page("A lake elsewhere", f"<p>{html.escape(lake.name)} {said}</p>")
    if lake is None or not (lake / "LAKE.json").is_file():
        return page("No lake yet", f"<p>{html.escape(str(lake))} is no lake. Trigger arxiv_assistant first.</p>")
    rows = "".join(row_of(manifest) for manifest in manifests(lake))
    head = "".join(f"<th>{name}</th>" for name in COLUMNS)
    return page(lake.name, f"<table><tr>{head}</tr>{rows}</table>")


def lake_folder() -> Path | None:
    """The configured lake; None where none is."""
    from airflow.models.variable import Variable

    lake = os.environ.get("LAKE") or Variable.get("LAKE", default_var=None)
    home = Path(os.environ.get("SPARK_ARXIV_HOME") or Path(__file__).resolve().parents[1])
    return home / lake if lake else None


def manifests(lake: Path) -> Iterator[dict[str, Any]]:
    """Manifests of what every CURRENT names, by dataset and part; one that was swept meanwhile is passed over."""
    for pointer in sorted([*lake.glob("*/*/CURRENT"), *lake.glob("*/*/*/CURRENT")]):
        path = pointer.parent / pointer.read_text().strip()[:KEY_LENGTH] / "_MANIFEST.json"
        if path.is_file():
            manifest: dict[str, Any] = json.loads(path.read_bytes())
            yield manifest


def row_of(manifest: dict[str, Any]) -> str:
    """A row of the table."""
    counts = manifest["counts"]
    refused = counts["dropped"] | counts.get("not_counted", {})
    dropped = ", ".join(f"{reason} {n}" for reason, n in sorted(refused.items()))
    cells = (
        *(manifest["dataset"], manifest["part"], manifest["rows"], counts["read"], counts["kept"], dropped),
        *(f"{manifest['seconds']:.1f}", manifest["created_at"]),
    )
    return "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>"


def page(title: str, body: str) -> str:
    """A whole page, without scripts."""
    style = "body{font:15px sans-serif;margin:2em}td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}"
    title = html.escape(title)
    return f"<!doctype html><title>{title}</title><style>{style}</style><h1>{title}</h1>{body}"


def app_views() -> list[dict[str, str]]:
    """The link to the chat app, where one is configured. APP_URL may be an address that only the workers can reach."""
    href = os.environ.get("APP_LINK") or os.environ.get("APP_URL")
    return [{"name": "Chat app", "href": href, "destination": "nav", "category": "browse"}] if href else []


class ArxivReportPlugin(AirflowPlugin):
    """What Airflow registers: the report's page and two links in its navigation."""

    name = "arxiv_report"
    fastapi_apps = [{"app": app, "url_prefix": "/arxiv", "name": "Spark-ArXiv report"}]  # noqa: RUF012  Airflow's form
    external_views = [  # noqa: RUF012
        {"name": "Lake report", "href": "/arxiv/report", "destination": "nav", "category": "browse"},
        *app_views(),
    ]
