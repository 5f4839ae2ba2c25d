"""The server as an ASGI application: routes, and what is done for every request."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chargen.errors import ChargenError
from chargen.server import classifying, completions, forms, openapi, scoring
from chargen.server.errors import RequestError, refusal
from chargen.server.exchange import ClientGone, Exchange, Message, Receive, Send
from chargen.server.guard import Guard, preflight
from chargen.server.library import Known, Library, Log, unknown_model
from chargen.server.openapi import Described
from chargen.server.page_files import INDEX, page_file
from chargen.server.schema import Schema
from chargen.server.settings import ServeConfig

if TYPE_CHECKING:
    from chargen.server.metrics import Metrics

Handler = Callable[[Library, Exchange, dict[str, Any]], Awaitable[None]]
Get = Callable[[Exchange, str], Awaitable[None]]


@dataclass(frozen=True)
class Post:
    """A route that takes a form.

    Attributes:
        handler: answers it.
        form: its fields.
        summary: one phrase.
    """

    handler: Handler
    form: Callable[[ServeConfig], Schema]
    summary: str


POSTS = {
    "/v1/completions": Post(completions.complete, forms.completion, "Continue texts."),
    "/v1/chat/completions": Post(completions.chat, forms.chat, "Answer messages."),
    "/v1/score": Post(scoring.score, forms.score, "Log probability of each character of a text."),
    "/v1/surprisal": Post(scoring.surprisal, forms.surprisal, "Surprisal with the best guesses."),
    "/v1/next": Post(scoring.next_token, forms.next_token, "Distribution of the next token."),
    "/v1/classify": Post(classifying.classify, forms.classify, "Probabilities of labels."),
    "/v1/ghost": Post(scoring.ghost, forms.ghost, "Ghost text: the sure words that follow."),
}


class App:
    """The server.

    Args:
        config: its settings.
        library: the models.
        log: takes words for whoever runs the server.
    """

    def __init__(self, config: ServeConfig, library: Library, log: Log) -> None:
        self._config, self._library, self._log = config, library, log
        self._guard, self._cut = Guard(config), asyncio.Event()
        self._forms = {path: post.form(config) for path, post in POSTS.items()}
        self._gets: dict[str, tuple[Get, str, str]] = {
            "/": (self._page, "The page to write with a model.", "text/html"),
            "/health": (self._health, "Whether the server runs.", "application/json"),
            "/metrics": (self._metrics, "Metrics for Prometheus.", "text/plain"),
            "/openapi.json": (self._openapi, "This description.", "application/json"),
            "/v1/models": (self._models, "The models.", "application/json"),
            "/v1/models/{id}": (self._model, "One model.", "application/json"),
            "/page/{name}": (page_file, "A file of the page.", "text/plain"),
        }
        self._counts: Metrics | None = None

    def cut(self) -> None:
        """End all requests now, with an error."""
        self._cut.set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        exchange, began = Exchange(scope, receive, send), time.perf_counter()
        try:
            await self._answer(exchange)
        except ClientGone:
            pass
        except ChargenError as error:
            self._note(error)
            await exchange.fail(refusal(error, self._params(exchange)))
        except Exception:
            self._log(f"an error of chargen itself:\n{traceback.format_exc()}")
            await exchange.fail(RequestError(500, "an error of the server; see its log"))
        finally:
            self._count(exchange, time.perf_counter() - began)

    def _note(self, error: ChargenError) -> None:
        """Log what a client is not told."""
        if refusal(error).status >= 500 and not isinstance(error, RequestError):
            self._log(f"{type(error).__name__}: {error}")

    def _params(self, exchange: Exchange) -> list[str]:
        form = self._forms.get(exchange.path)
        return list(form["properties"]) if form else []

    def _count(self, exchange: Exchange, seconds: float) -> None:
        self._metrics_of().count(exchange.route, exchange.status, seconds)
        if self._config.log_level == "info":
            words = f"{exchange.method} {exchange.path[:200]!r} {exchange.status or 'client left'}"
            self._log(f"{words} {seconds * 1000:.0f} ms")

    def _metrics_of(self) -> Metrics:
        """Return the metrics; their library is imported with the first request."""
        if self._counts is None:
            from chargen.server.metrics import Metrics

            self._counts = Metrics(self._library)
        return self._counts

    # -- what is done for every request ---------------------------------------------------

    async def _answer(self, exchange: Exchange) -> None:
        self._guard.check(exchange)
        exchange.route, name = self._route(exchange.path)
        method = {"HEAD": "GET"}.get(exchange.method, exchange.method)
        if method == "OPTIONS":
            await preflight(exchange)
        elif method == "GET" and exchange.route in self._gets:
            await self._gets[exchange.route][0](exchange, name)
        elif method == "POST" and exchange.route in POSTS:
            await self._post(exchange, POSTS[exchange.route])
        else:
            raise self._refused(exchange.route)

    def _route(self, path: str) -> tuple[str, str]:
        """Return the route of a path, and what it has in place of a parameter."""
        if path in POSTS or path in self._gets:
            return path, ""
        for start in ("/v1/models/", "/page/"):
            if path.startswith(start):
                route = next(route for route in self._gets if route.startswith(start + "{"))
                return route, path.removeprefix(start)
        return "other", ""

    def _refused(self, route: str) -> RequestError:
        if route == "other":
            known = ", ".join([*POSTS, *self._gets])
            return RequestError(404, f"no such route; there are: {known}", code="not_found")
        allowed = "POST" if route in POSTS else "GET"
        words = f"{route} takes {allowed} only"
        return RequestError(405, words, code="method", headers={"Allow": allowed})

    async def _post(self, exchange: Exchange, post: Post) -> None:
        given = await exchange.fields(self._forms[exchange.route], self._config.max_body)
        await self._attended(exchange, post.handler(self._library, exchange, given))

    async def _attended(self, exchange: Exchange, work: Awaitable[None]) -> None:
        """Do some work until it is done, its client leaves, its time is over, or all end."""
        done = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(exchange.left())
        cut = asyncio.ensure_future(self._cut.wait())
        try:
            await asyncio.wait(
                (done, gone, cut),
                timeout=self._config.timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if done.done():
                return done.result()
            if gone.done():
                raise ClientGone
            if cut.done():
                raise RequestError(503, "the server is being stopped", code="stopping")
            words = f"the request took longer than {self._config.timeout:g} seconds"
            raise RequestError(504, words, code="timeout")
        finally:
            for task in (done, gone, cut):
                task.cancel()
            await asyncio.gather(done, gone, cut, return_exceptions=True)

    # -- GET ------------------------------------------------------------------------------

    async def _page(self, exchange: Exchange, _: str) -> None:
        await page_file(exchange, INDEX)

    async def _health(self, exchange: Exchange, _: str) -> None:
        await exchange.json({"status": "ok"})

    async def _metrics(self, exchange: Exchange, _: str) -> None:
        from chargen.server.metrics import KIND

        await exchange.data(self._metrics_of().text(), KIND)

    async def _openapi(self, exchange: Exchange, _: str) -> None:
        gets = [
            Described(path, "GET", words, kind) for path, (_, words, kind) in self._gets.items()
        ]
        posts = [
            Described(path, "POST", post.summary, form=self._forms[path])
            for path, post in POSTS.items()
        ]
        has_key = self._config.api_key is not None
        await exchange.json(openapi.description([*gets, *posts], has_key=has_key))

    async def _models(self, exchange: Exchange, _: str) -> None:
        known = await self._library.known()
        await exchange.json(
            {"object": "list", "data": [self._facts(one) for one in known.values()]}
        )

    async def _model(self, exchange: Exchange, name: str) -> None:
        known = await self._library.known()
        if name not in known:
            raise unknown_model(name, known)
        await exchange.json(self._facts(known[name]))

    def _facts(self, known: Known) -> dict[str, Any]:
        return {
            "id": known.name,
            "object": "model",
            "created": known.changed // 1_000_000_000,
            "owned_by": "chargen",
            "in_memory": any(model.name == known.name for model in self._library.loaded),
            "labels": list(known.labels),
            "record_end": known.record_end,
        }
