"""The page for people: one question, an answer that grows, its sources below.

Built once; what depends on the release (introduction, example questions, who answers, footer) is filled in whenever
the page is opened, so a new release needs no restart.
"""

from __future__ import annotations

import html
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jobs.serving.completions import MAX_QUESTION_CHARS
from jobs.serving.release import BASE, QUOTED, STUDENT, Release
from jobs.serving.rendering import escaped, footer, plain, sources, sources_title
from jobs.serving.replies import Ask, reply
from jobs.serving.served import Served
from jobs.serving.speaker import BusyError

if TYPE_CHECKING:
    import gradio
    from fastapi import FastAPI

TITLE = "Spark-ArXiv"
MAX_WAITING = 64
AT_ONCE = 16  # more than may ask the student at once, so that quoted sentences never wait for it
_LABELS = {QUOTED: "Quoted sentences", STUDENT: "Student", BASE: "Its base, untrained"}
# Gradio puts its own container before every selector inside of @media, so what asks for the container stands outside.
_CSS = """
.gradio-container {max-width: 50rem !important; margin: 0 auto !important}
#head h1 {font-size: 1.35rem; font-weight: 650; margin: 0.4rem 0 0}
#head p {opacity: 0.75; margin: 0.1rem 0 0.3rem}
#foot p {opacity: 0.75; font-size: 0.8rem; text-align: center; margin: 0}
#talk {border: 1px solid var(--border-color-primary) !important; border-radius: 0.6rem}
.gradio-container:has(#who) {--who: 7.5rem; --who-narrow: 12rem}
#talk {height: calc(100dvh - 15rem - var(--who, 0rem)) !important; min-height: 20rem}
#talk blockquote {border-left: 3px solid var(--border-color-primary); margin: 0.3rem 0 1rem; padding-left: 0.8rem}
#talk .message {font-size: 1rem; line-height: 1.55}
@media (max-width: 600px) {
  #talk {height: calc(100dvh - 18.5rem - var(--who-narrow, 0rem)) !important; min-height: 14rem}
}
.dark {color-scheme: dark}
footer {display: none !important}
"""


def mount_page(app: FastAPI, served: Served) -> None:
    """Put the chat at "/", with everything of Gradio switched off that it does not need."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    import gradio as gr

    page = make_page(served)
    page.queue(max_size=MAX_WAITING, default_concurrency_limit=AT_ONCE, api_open=False)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        show_error=False,
        max_file_size="1kb",
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        # A theme of system fonts: Gradio's own ask fonts.googleapis.com for theirs.
        theme=gr.themes.Base(
            primary_hue="indigo",
            neutral_hue="slate",
            font=["system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        ),
        css=_CSS,
    )


def make_page(served: Served) -> gradio.Blocks:
    """The page's components and what happens in them."""
    import gradio as gr

    def fill() -> tuple[str, Any, Any, str]:
        return _filled(served)

    def answer(message: Any, history: Any, model: str = QUOTED) -> Iterator[Any]:
        yield from _replies(served, message, history, model)

    page: gradio.Blocks
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_height=True) as page:
        head = gr.Markdown(elem_id="head")
        model = gr.Radio([(_LABELS[QUOTED], QUOTED)], value=QUOTED, label="Who answers", visible=False, elem_id="who")
        talk = gr.Chatbot(
            elem_id="talk",
            show_label=False,
            latex_delimiters=[],
            allow_tags=False,
            sanitize_html=True,
            buttons=["copy"],
            layout="bubble",
            feedback_options=None,
        )
        gr.ChatInterface(
            answer,
            chatbot=talk,
            textbox=gr.Textbox(
                placeholder="Ask about these papers",
                max_length=MAX_QUESTION_CHARS,
                submit_btn=True,
                stop_btn=True,
                autofocus=True,
                container=False,
            ),
            additional_inputs=[model],
            examples=[["What can I ask?", None]],  # replaced by the release's when the page is opened
            cache_examples=False,
            flagging_mode="never",
            api_visibility="private",
            analytics_enabled=False,
        )
        foot = gr.Markdown(elem_id="foot")
        page.load(fill, outputs=[head, model, talk, foot], api_visibility="private", show_progress="hidden")
    return page


def _filled(served: Served) -> tuple[str, Any, Any, str]:
    import gradio as gr

    release = served.release
    if release is None:
        return f"# {TITLE}\n\n{escaped(served.why_not)}", gr.update(), gr.update(examples=[]), ""
    choices = [(_LABELS[name], name) for name in release.serves]
    about = f"The student is {plain(release.facts['student'])}" if release.speaker else None
    who = gr.update(choices=choices, value=release.serves[0], visible=len(choices) > 1, info=about)
    examples = [{"text": plain(question)} for question in release.questions]
    return f"# {TITLE}\n\n{escaped(release.intro)}", who, gr.update(examples=examples), footer(release)


def _replies(served: Served, message: Any, history: Any, model: str) -> Iterator[Any]:
    """The answer as it grows, then with its sources; or why there is none."""
    question = _text_of(message)
    release = served.release
    if release is None:
        yield escaped(served.why_not)
        return
    if not question or len(question) > MAX_QUESTION_CHARS:
        yield f"A question has 1 to {MAX_QUESTION_CHARS:,} characters; this one has {len(question):,}."
        return
    if model not in release.serves:
        yield "The papers changed meanwhile. Please load the page again."
        return
    try:
        yield from _growing(release, Ask(question, model, before=_asked_in(history)))
    except BusyError as error:
        yield escaped(str(error))


def _growing(release: Release, ask: Ask) -> Iterator[Any]:
    """What is said so far, again and again; at the end the whole with its sources."""
    import gradio as gr

    said = ""
    for piece in reply(release, ask):
        if isinstance(piece, str):
            said += piece
            yield escaped(said)
        elif piece.citations:
            heading = html.escape(sources_title(piece))
            listed = gr.ChatMessage(content=sources(piece.citations), metadata=_folded(heading, piece.supported))
            yield [gr.ChatMessage(content=escaped(piece.text)), listed]


def _folded(title: str, is_supported: bool) -> Any:
    """The heading of the sources: open under an answer, folded away under a refusal."""
    return {"title": title} if is_supported else {"title": title, "status": "done"}


def _asked_in(history: Any) -> tuple[str, ...]:
    """What the reader asked so far, oldest first. The browser keeps the history: what is none is passed over."""
    messages = history if isinstance(history, list) else []
    return tuple(_text_of(one) for one in messages if isinstance(one, dict) and one.get("role") == "user")


def _text_of(message: Any) -> str:
    """The text of a message, which comes as text, as a dict or as a list of parts."""
    if isinstance(message, dict):
        message = message.get("text") or message.get("content") or ""
    if isinstance(message, list):
        message = "\n".join(_text_of(part) for part in message)
    return str(message).strip()
