"""Counters of the app in the text format that Prometheus reads (version 0.0.4)."""

from __future__ import annotations

import threading
from collections import Counter

from jobs.serving.served import Served

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Meters:
    """Requests by route and status, and how long they took."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: Counter[str] = Counter()

    def count(self, route: str, status: int, seconds: float) -> None:
        """Note one finished request. `route` is one of a closed list, never what a stranger typed."""
        with self._lock:
            self._requests[route, status] += 1
            self._seconds[route] += seconds  # type: ignore[assignment]  # a Counter of floats

    def text(self, served: Served) -> str:
        """All counters, with what serves."""
        with self._lock:
            requests, seconds = dict(self._requests), dict(self._seconds)
        totals: Counter[str] = Counter()
        for (route, _), n in requests.items():
            totals[route] += n
        lines = [
            "# TYPE spark_arxiv_requests_total counter",
            *(
                f'spark_arxiv_requests_total{{route="{route}",status="{status}"}} {n}'
                for (route, status), n in sorted(requests.items())
            ),
            "# TYPE spark_arxiv_request_seconds summary",
            *(f'spark_arxiv_request_seconds_sum{{route="{route}"}} {seconds[route]:.6f}' for route in sorted(totals)),
            *(f'spark_arxiv_request_seconds_count{{route="{route}"}} {totals[route]}' for route in sorted(totals)),
            "# TYPE spark_arxiv_reloads_total counter",
            *(f'spark_arxiv_reloads_total{{outcome="{name}"}} {n}' for name, n in sorted(served.reloads.items())),
            "# TYPE spark_arxiv_release_info gauge",
        ]
        if release := served.release:
            lines.append(f'spark_arxiv_release_info{{release_id="{release.release_id}"}} 1')
            if (speaker := release.speaker) is not None:
                lines += [
                    "# TYPE spark_arxiv_generation_seconds summary",
                    f"spark_arxiv_generation_seconds_sum {speaker.seconds:.6f}",
                    f"spark_arxiv_generation_seconds_count {speaker.n_answers}",
                    "# TYPE spark_arxiv_generated_tokens_total counter",
                    f"spark_arxiv_generated_tokens_total {speaker.n_tokens}",
                    "# TYPE spark_arxiv_generations_waiting gauge",
                    f"spark_arxiv_generations_waiting {speaker.n_waiting}",
                ]
        return "\n".join(lines) + "\n"
