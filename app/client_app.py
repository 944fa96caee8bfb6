"""A client's way to an application in its own process: no socket, and the application is open as long as the client."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

if TYPE_CHECKING:
    from starlette.applications import Starlette

T = TypeVar("T")
Message = Any  # of ASGI
log = logging.getLogger(__name__)


class AppTransport(httpx.AsyncBaseTransport):
    """Requests to an application, whose lifespan begins before the first and ends with the client.

    Answers come as they are made: `httpx.ASGITransport` holds them back until they are whole, progress included.
    """

    def __init__(self, app: "Starlette") -> None:
        self._app = app
        self._closing = asyncio.Event()
        self._life: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises what keeps the application from starting."""
        await self._open()
        exchange = _Exchange(self._app, request, await request.aread())
        self._running.add(exchange.task)
        exchange.task.add_done_callback(self._running.discard)
        return await exchange.answer()

    async def aclose(self) -> None:
        """Let what runs end, then close the application."""
        if self._life is not None:
            await asyncio.gather(*self._running)
            self._closing.set()
            await self._life

    async def _open(self) -> None:
        if self._life is None:
            self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._life = asyncio.create_task(self._live())
        await asyncio.shield(self._opened)

    async def _live(self) -> None:
        """The lifespan, in a task of its own: whoever opens it need not be the one who closes it."""
        try:
            async with self._app.router.lifespan_context(self._app):
                self._opened.set_result(None)
                await self._closing.wait()
        except Exception as error:
            if self._opened.done():
                raise
            self._opened.set_exception(error)


class InThread(httpx.BaseTransport):
    """The same for a blocking client: the application has an event loop in a thread of its own."""

    def __init__(self, app: "Starlette") -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="service", daemon=True)
        self._thread.start()
        self._transport = AppTransport(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Raises what keeps the application from starting."""
        answer = self.do(self._transport.handle_async_request(request))
        return httpx.Response(answer.status_code, headers=answer.headers, stream=_Arriving(answer.stream, self.do))

    def close(self) -> None:
        """Close the application, then its loop."""
        if not self._loop.is_closed():
            self.do(self._transport.aclose())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def do(self, call: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine in the loop; what interrupts the wait cancels it."""
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


class _Arriving(httpx.SyncByteStream):
    """The bytes of an answer out of another thread's loop."""

    def __init__(self, stream: Any, do: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._stream, self._do = stream, do

    def __iter__(self) -> Iterator[bytes]:
        chunks = aiter(self._stream)
        while (chunk := self._do(_next(chunks))) is not None:
            yield chunk

    def close(self) -> None:
        self._do(self._stream.aclose())


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


class _Exchange(httpx.AsyncByteStream):
    """One request and the answer to it, message by message."""

    def __init__(self, app: "Starlette", request: httpx.Request, body: bytes) -> None:
        self._request, self._body = request, [body]
        self._messages: asyncio.Queue[Message] = asyncio.Queue(1)  # the application waits for who reads
        self._left = asyncio.Event()
        self._patience = request.extensions.get("timeout", {}).get("read")
        self.task = asyncio.create_task(self._run(app))

    async def answer(self) -> httpx.Response:
        """The response, as soon as its head is there; ReadTimeout, or RemoteProtocolError when there will be none."""
        try:
            head = await self._next()
        except BaseException:
            await self.aclose()
            raise
        return httpx.Response(head["status"], headers=head["headers"], stream=self)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._next()
            yield message.get("body", b"")
            more = message.get("more_body", False)

    async def aclose(self) -> None:
        """Tell the application that its client is gone."""
        self._left.set()
        while not self._messages.empty():  # it may be waiting to say more
            self._messages.get_nowait()

    async def _run(self, app: "Starlette") -> None:
        try:
            await app(self._scope(), self._receive, self._send)
        except Exception:
            log.exception("the application failed at %s %s", self._request.method, self._request.url.path)
        await self._send(None)

    async def _next(self) -> Message:
        try:
            async with asyncio.timeout(self._patience):
                message = await self._messages.get()
        except TimeoutError:
            raise httpx.ReadTimeout(f"the application said nothing for {self._patience:g} s") from None
        if message is None:
            raise httpx.RemoteProtocolError("the application broke off its answer")
        return message

    async def _send(self, message: Message) -> None:
        if not self._left.is_set():
            await self._messages.put(message)

    async def _receive(self) -> Message:
        if self._body:
            return {"type": "http.request", "body": self._body.pop()}
        await self._left.wait()
        return {"type": "http.disconnect"}

    def _scope(self) -> Message:
        url = self._request.url
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self._request.method,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.split(b"?")[0],
            "query_string": url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in self._request.headers.raw],
            "server": (url.host, url.port or 80),
            "client": ("127.0.0.1", 0),
        }
