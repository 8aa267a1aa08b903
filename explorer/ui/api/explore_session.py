"""`ExploreSession`: what one session may ask for, and the passes that it needs for that."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakValueDictionary

from explorer.ui.services.caches import CACHES, LruCache
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import CONCURRENT_PASSES, ChosenNetwork, InferenceCache, NetworkResult
from explorer.ui.services.input_images import InputImage, UploadStore, find_image
from explorer.ui.services.offered_networks import OfferedNetworks

_SUPERSEDED = "A newer view was asked for meanwhile."
_AHEAD = ThreadPoolExecutor(CONCURRENT_PASSES, thread_name_prefix="ahead")


class RequestError(ValueError):
    """An answer other than a message; its text is for the user."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code = status, code


class ExploreSession:
    """What one session may ask for: its pictures, and the networks that its page has `offered`.

    `token` is known to the browser of this session alone. `latest` counts the requests: only the newest is answered.
    `turn` lets one at a time be computed.
    """

    def __init__(self, passes: InferenceCache, pictures: UploadStore) -> None:
        self.token = secrets.token_hex(16)
        self.passes, self.pictures = passes, pictures
        self.offered = OfferedNetworks({}, {}, "light")
        self.messages: LruCache[bytes] = LruCache(CACHES["ui.api.explore_session.ExploreSession"])
        self.latest = 0
        self._wanted: tuple[str, ...] = ()
        self.turn = asyncio.Lock()

    def run_ahead(self, state: AppState, subject: InputImage, names: Sequence[str]) -> None:
        """Begins the passes that the browser will request, while the page is still on its way to it. The request meets
        the same error, and answers with it. It ends where another view is wanted meanwhile."""
        self.want(state, subject, names)
        wanted = self._wanted

        def go_on() -> None:
            if self._wanted != wanted:
                raise RequestError(200, "superseded", _SUPERSEDED)

        _AHEAD.submit(self.run, state, subject, names, go_on)

    def want(self, state: AppState, subject: InputImage, names: Sequence[str]) -> None:
        """Notes what is wanted now, so that an attack for another view, which `run_ahead` has begun, ends."""
        self._wanted = (subject.digest, state.attack, state.change, str(state.step), *names)

    def image_of(self, state: AppState) -> InputImage:
        """The picture of a view: one of the app, or a file that this session has uploaded."""
        subject = find_image(state, self.pictures)
        if subject is None:
            raise RequestError(404, "picture", "This image is not here any more. Choose it again.")
        return subject

    def reject_superseded(self, number: int | None) -> None:
        """Raises RequestError where a newer request than that of this number has come."""
        if number not in (None, self.latest):
            raise RequestError(200, "superseded", _SUPERSEDED)

    def attacked(
        self, state: AppState, subject: InputImage, names: Sequence[str], go_on: Callable[[], None] = lambda: None
    ) -> InputImage:
        """The picture as the attack of the view on the networks of these names has made it. `go_on` is called before
        each step, and may raise."""
        return self.passes.attacked(self.networks(names, state.step), state, subject, go_on)

    def run(
        self, state: AppState, subject: InputImage, names: Sequence[str], go_on: Callable[[], None] = lambda: None
    ) -> list[NetworkResult]:
        """The networks of these names with their passes over the picture, attacked where the view has an attack."""
        subject = self.attacked(state, subject, names, go_on)
        return [self.passes.run(network, state, subject) for network in self.networks(names, state.step)]

    def networks(self, names: Sequence[str], step: int | None = None) -> list[ChosenNetwork]:
        """Those of the page with these names, at that step of their training."""
        if not names or any(name not in self.offered.load for name in names):
            raise RequestError(200, "networks", "The page shows other networks now. Reload it if this stays.")
        return self.offered.beside(names, step)


SESSIONS: WeakValueDictionary[str, ExploreSession] = WeakValueDictionary()  # by token; each goes with its session
