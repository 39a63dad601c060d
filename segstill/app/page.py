"""The page: what is on it, and what happens when."""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes import Base
from starlette.middleware import Middleware

from .desk import Choice, Desk
from .given import Given
from .networks import TagNetwork, named

HERE = Path(__file__).parent
POLICY = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'"
"""A browser asks no other host for anything, whatever is on the page."""
ELSEWHERE = re.compile(r"/(file|proxy)=\s*https?:", re.IGNORECASE)
"""Paths with which gradio would fetch something from another host."""

OWN_NAMES = ("localhost", "127.0.0.1", "[::1]")
"""What a browser on this machine calls it."""

Message = MutableMapping[str, Any]


class Guard:
    """Keeps the page to this host: an ASGI application around another one.

    Args:
        app: the other one.
        here: whether it listens to this machine alone.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], *, here: bool):
        self._app, self._here = app, here

    def _refused(self, scope: Message) -> int | None:
        """Return the status to answer with in the place of the page's."""
        if ELSEWHERE.search(scope["path"]):
            return 404
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1").rsplit(":", 1)[0]
        # A page of another site can have its name point here; its requests still carry that name.
        return 403 if self._here and host not in OWN_NAMES else None

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if refused := self._refused(scope):
            await send({"type": "http.response.start", "status": refused, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self._app(scope, receive, told)


def launch(desk: Desk, folder: Path, *, host: str, port: int, max_mb: int) -> gr.Blocks:
    """Serve the page from a thread of its own and return it; `folder` holds what is uploaded."""
    page = build(desk, max_mb)
    page.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        share=False,
        quiet=True,
        inbrowser=False,
        show_error=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        run_history=False,
        footer_links=[],
        allowed_paths=[str(folder)],  # an empty list would let a variable of the environment name others
        max_file_size=max_mb * 2**20,
        theme=Base(primary_hue="blue", neutral_hue="slate", font=["system-ui"], font_mono=["monospace"]),
        css=(HERE / "page.css").read_text("utf-8"),
        app_kwargs={
            "middleware": [Middleware(Guard, here=host in (*OWN_NAMES, "::1"))],
            "docs_url": None,
            "redoc_url": None,
        },
    )
    return page


def build(desk: Desk, max_mb: int) -> gr.Blocks:
    """Return the page, which nobody serves yet."""
    names = list(desk.networks)
    with gr.Blocks(title="segstill", analytics_enabled=False, fill_width=True, delete_cache=(3600, 86400)) as page:
        state = gr.State(None)
        gr.HTML("<h1>segstill</h1>", elem_id="head")
        with gr.Row(elem_id="desk"):
            with gr.Column(scale=1, min_width=300, elem_id="controls"):
                picture = gr.Image(
                    label="Image",
                    type="filepath",
                    sources=["upload", "webcam", "clipboard"],
                    buttons=["fullscreen"],
                    placeholder=f"Drop an image here\nor click to choose one, up to {max_mb} MB",
                    alt_text="The image that was given",
                    elem_id="given",
                )
                chosen = gr.CheckboxGroup(names, value=names, label="Networks", elem_id="networks")
                rows = [_classifier(network) for network in desk.classifiers]
            with gr.Column(scale=3, min_width=300):
                shown = gr.HTML(desk.show(None, [], {}), elem_id="shown")
        groups = [group for group, _, _ in rows]
        controls = [control for _, tags, threshold in rows for control in (tags, threshold)]

        def take(upload: dict[str, Any] | None, before: Given | str | None) -> list[Any]:
            if upload:
                given = desk.take(Path(upload["path"]), upload["orig_name"] or "the image")
            else:  # emptied by the user, or by what comes next
                given = before if isinstance(before, str) else None
            found = desk.probabilities(given) if isinstance(given, Given) else {}
            offered = [_offered(network, found.get(network.name)) for network in desk.classifiers]
            # A file that is no image would be shown as a broken one.
            return [given, None if isinstance(given, str) else gr.skip(), *offered]

        def show(given: Given | str | None, chosen: list[str], *controls: Any) -> list[Any]:
            pairs = zip(controls[::2], controls[1::2], strict=True)
            choices = {
                network.name: Choice(tags, threshold)
                for network, (tags, threshold) in zip(desk.classifiers, pairs, strict=True)
            }
            visible = [gr.update(visible=network.name in chosen) for network in desk.classifiers]
            return [desk.show(given, chosen, choices), *visible]

        # One at a time, so that what is timed has the machine to itself.
        settings: Any = {"api_visibility": "private", "concurrency_limit": 1, "concurrency_id": "networks"}
        showing: Any = {"inputs": [state, chosen, *controls], "outputs": [shown, *groups], **settings}
        taken = picture.change(
            take,
            [picture, state],
            [state, picture, *(tags for _, tags, _ in rows)],
            preprocess=False,
            show_progress="hidden",
            **settings,
        )
        taken.then(show, **showing)
        gr.on([control.input for control in (chosen, *controls)], show, trigger_mode="always_last", **showing)
    return page


def _classifier(network: TagNetwork) -> tuple[gr.Group, gr.CheckboxGroup, gr.Slider]:
    with gr.Group() as group:
        tags = gr.CheckboxGroup(
            list(network.classes[1:]),
            label=f"Tags for {network.name}",
            info="Only the classes chosen here are looked for.",
            elem_classes="tags",
        )
        threshold = gr.Slider(
            0,
            1,
            value=network.threshold,
            step=0.01,
            label=f"Threshold for {network.name}",
            info="Where no class map is above it, there is background.",
            elem_classes="threshold",
        )
    return group, tags, threshold


def _offered(network: TagNetwork, probabilities: dict[str, float] | None) -> dict[str, Any]:
    """Return what the tag picker holds once an image was looked at: the likeliest first, the likely ones ticked."""
    if probabilities is None:
        return gr.update(choices=list(network.classes[1:]), value=[])
    return gr.update(
        choices=[(f"{name} {100 * share:.0f} %", name) for name, share in probabilities.items()],
        value=named(probabilities),
    )
