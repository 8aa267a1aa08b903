"""Whether anything of one visitor ever reaches another: `python -m benchmarks isolation`.

Ten visitors at once, each with a picture, a model and a run of their own and a secret word in all their names, look
around at random; an eleventh asks for what is theirs by its name, and for drawings by made-up tokens. Every answer, a
whole re-run, a drawing, or a picture fetched by its address, is searched for what belongs to somebody else.
"""

import argparse
import json
import os
import re
import secrets
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.films import Film
from benchmarks.rows import machine, write
from benchmarks.runs import end
from benchmarks.visitors import PAGES, WITHOUT_RUN, Visitor, random_picture
from driving.messages import unpack
from driving.protocol_client import Session, SessionError
from driving.server_process import logged_errors, served
from explorer import checkpoints, runs
from explorer.architectures import build
from explorer.presets import cifar

VISITORS, ANSWERS = 10, 10_000
VIEWS: tuple[dict[str, str], ...] = ({}, {"tab": "block"})  # drawn by the browser, and from pictures with an address
LARGE = 2000  # bytes: a smaller picture may be the same for two people, such as a map of zeros
RUN = {"preset": "resnet-8", "data": "shapes-16-ring-star", "config": json.dumps({"seconds": 1.0}), "twin": "no"}
_EMBEDDED = re.compile(rb"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/]+)")


@dataclass(frozen=True, eq=False)
class Belongings:
    """What belongs to one visitor, as it would stand in an answer.

    `contents` must reach nobody else: the secret word in the names of picture, model, classes and run; cookie and
    session, with the token for its drawings; the number of the run; the networks of one that is over; their pictures as
    they are drawn. `keys` name the picture and the model in an address: whoever asks for them finds them in the
    answer's own address.
    """

    contents: frozenset[bytes]
    keys: frozenset[bytes]

    @property
    def all(self) -> frozenset[bytes]:
        return self.contents | self.keys


class Owner(Visitor):
    """A visitor with a picture, a model and a run of their own."""

    def __init__(
        self, url: str, number: int, owner: str | None = None, word: str = "", film: Film | None = None
    ) -> None:
        super().__init__(url, number, owner, film)
        self.word = word or f"word{secrets.token_hex(8)}"
        self.content = random_picture(secrets.randbits(32))
        self.model = self.picture = ""
        self.run: runs.Run | None = None

    def move_in(self) -> None:
        """Starts the run, uploads the model and the picture. Raises SessionError."""
        session = self.session
        session.rerun("build", **RUN)
        session.press("start")
        self.run = runs.find(session.query.get("run", ""))
        if self.run is None:
            raise SessionError("the run did not start")
        self.run.write_title(f"run {self.word}")
        session.rerun("models")
        session.upload("weights", f"{self.word}.safetensors", self._weights())
        session.press("use")
        self.model = session.query["first"]
        self.query = dict(session.query)
        self.look_at(self.content, f"{self.word}.png")
        self.picture = self.query["picture"]

    def end_run(self) -> None:
        if self.run:
            end(self.run)

    def _weights(self) -> bytes:
        network = build(cifar(8), seed=self.dice.randrange(2**31)).freeze()
        names = tuple(f"{self.word} {index}" for index in range(10))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "network.safetensors")
            checkpoints.save(checkpoints.Checkpoint(network, names, (0.5,) * 3, (0.5,) * 3, self.word), path)
            return path.read_bytes()

    def belongings(self, everybodys: Collection[bytes]) -> Belongings:
        """After a look at the own picture, without what stands in `everybodys` answers."""
        assert self.run is not None
        seen = []
        for view in VIEWS:
            self.session.rerun(**self.query, **view)
            self.session.explain(with_run=True)
            pictures = [address for address in self.session.media if len(self.session.file(address)) > LARGE]
            seen += [address.encode() for address in pictures] + list(embedded(self.session.answer))
        names = [self.word, self.session.owner, self.session.id, self.session.token, self.run.id]
        names += self.film.networks if self.film else ()
        private = [each for each in seen if not any(each in answer for answer in everybodys)]
        return Belongings(
            frozenset([name.encode() for name in names] + private),
            frozenset([self.model.encode(), self.picture.encode()]),
        )

    def draw_mine(self) -> float:
        """Another drawn shape as the own model sees it, without a run of the page."""
        self.explore({"first": self.model, "second": "none", "picture": self._drawn()})
        return self.act("drawing")

    def wander(self) -> float:
        """One more interaction, at random; seconds. Raises SessionError."""
        assert self.run is not None
        if self.told:
            return self.tell()
        dice, session = self.dice, self.session
        kind = dice.choice(["anything", "anything", "mine", "model", "run", "tick", "compare", "drawing"])
        if kind == "drawing":
            return self.draw_mine()
        if kind == "mine":
            return self.explore({"first": self.model, "second": "none", "picture": self.picture})
        if kind == "tick" and (taken := session.run_timed_fragment()) is not None:
            return taken
        if kind == "anything":
            way = dice.choices([*WITHOUT_RUN], [*WITHOUT_RUN.values()])[0]
            if way != "upload":
                return self.act(way)
            return self.show(self.content, f"{self.word} again.png")
        self.page = {"model": "models", "compare": "compare"}.get(kind, "build")
        query = {"model": {"model": self.model}, "compare": {"picture": self.picture}}.get(kind, {"run": self.run.id})
        return session.rerun(self.page, **query)


def embedded(answer: Iterable[bytes]) -> Iterable[bytes]:
    """A piece from within each large picture that an answer holds itself."""
    for message in answer:
        for match in _EMBEDDED.finditer(message):
            if len(match[1]) > LARGE:
                middle = len(match[1]) // 2
                yield match[1][middle : middle + 64]
        if message[4:5] == b"{":  # that of the viewer; the others are protobuf
            header, body = unpack(message)
            for network in header["networks"]:
                if "input" in network:  # the pixels at the network's input
                    start, height, width = network["input"]
                    middle = start + 3 * height * width // 2
                    yield body[middle : middle + 64]


@dataclass
class Found:
    """How many answers were searched, and what was in them that must not be."""

    reruns: int = 0
    drawings: int = 0
    files: int = 0
    leaks: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def answers(self) -> int:
        return self.reruns + self.drawings + self.files


def search(answer: Iterable[bytes], others: Iterable[bytes]) -> list[bytes]:
    """Those of `others` that stand in the answer."""
    whole = b"\n".join(answer)
    return [each for each in others if each in whole]


class Search:
    """Searches every answer of one session for what belongs to others."""

    def __init__(self, session: Session, others: Iterable[bytes], found: Found, who: str) -> None:
        self.session, self.others, self.found, self.who = session, [*others], found, who
        self._fetched: set[str] = set()

    def look(self, what: str) -> None:
        """At the last answer, and at the pictures in it that were not fetched yet, as a browser would."""
        self._note(what, self.session.answer, reruns=1)
        for address in {*self.session.media} - self._fetched:
            self._fetched.add(address)
            self._note(address, [address.encode(), *self._png(address)], files=1)

    def look_at_drawing(self, what: str) -> None:
        """At the last answer, which came without a run of the page."""
        self._note(what, self.session.answer, drawings=1)

    def look_at_refusal(self, what: str) -> None:
        self._note(what, self.session.answer)

    def _png(self, address: str) -> Iterable[bytes]:
        try:
            yield self.session.file(address)
        except SessionError:
            # Streamlit drops a picture when a re-run no longer shows it. Nothing else reruns this session: an error.
            with self.found.lock:
                self.found.errors.append(f"{self.who}: {address} is not there")

    def _note(self, what: str, answer: Iterable[bytes], reruns: int = 0, drawings: int = 0, files: int = 0) -> None:
        leaked = search(answer, self.others)
        with self.found.lock:
            self.found.reruns += reruns
            self.found.drawings += drawings
            self.found.files += files
            self.found.leaks += [f"{self.who}, {what}: {each.decode(errors='replace')}" for each in leaked]


def isolate(url: str, visitors: int, answers: int, films: Sequence[Film] = ()) -> Found:
    """So many visitors at once, until so many answers were searched. EXPLORER_DATA must be the app's own folder. Of the
    `films`, runs that are over, each visitor has one."""
    found = Found()
    owners = [Owner(url, number, film=films[number] if films else None) for number in range(visitors)]
    stranger = Visitor(url, visitors)
    try:
        _together([owner.move_in for owner in owners], found)
        if found.errors:
            return found
        everybodys = [answer for view in VIEWS for answer in _answer(stranger, view)]
        belongings = [owner.belongings(everybodys) for owner in owners]
        _together(
            [
                *(_wandering(owner, number, belongings, answers, found) for number, owner in enumerate(owners)),
                _asking(stranger, owners, belongings, answers, found),
            ],
            found,
        )
    finally:
        for owner in owners:
            owner.end_run()
        for each in [*owners, stranger]:
            each.session.close()
    return found


def _answer(visitor: Visitor, view: dict[str, str]) -> list[bytes]:
    visitor.explore(view)
    return visitor.session.answer


def _together(ways: Iterable[Callable[[], None]], found: Found) -> None:
    def go(way: Callable[[], None]) -> None:
        try:
            way()
        except Exception as error:  # a thread's own would only be printed
            with found.lock:
                found.errors.append(repr(error))

    threads = [threading.Thread(target=go, args=(way,)) for way in ways]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _wandering(
    owner: Owner, number: int, belongings: Sequence[Belongings], answers: int, found: Found
) -> Callable[[], None]:
    """What one visitor does until enough was searched."""
    others = [each for index, theirs in enumerate(belongings) if index != number for each in theirs.all]

    def wander() -> None:
        searching = Search(owner.session, others, found, f"visitor {number}")
        while found.answers < answers and not found.errors:
            owner.wander()
            if owner.session.drew:
                searching.look_at_drawing("a drawing")
            else:
                searching.look(f"page {owner.page!r}")

    return wander


def _asking(
    stranger: Visitor, owners: Sequence[Owner], belongings: Sequence[Belongings], answers: int, found: Found
) -> Callable[[], None]:
    """Somebody who has nothing and asks for the pictures and models of others by their names."""
    contents = [each for theirs in belongings for each in theirs.contents]

    def ask() -> None:
        searching = Search(stranger.session, contents, found, "the stranger")
        while found.answers < answers and not found.errors:
            theirs = stranger.dice.choice(owners)
            page, query = stranger.dice.choice(
                [
                    ("", {"picture": theirs.picture}),
                    ("", {"first": theirs.model, "second": "none"}),
                    ("models", {"model": theirs.model}),
                    ("compare", {"networks": f"{theirs.model},shapes-plain-20", "picture": theirs.picture}),
                    ("gradients", {"source": "checkpoint", "first": theirs.model, "second": "none"}),
                    (stranger.dice.choice(PAGES), {}),
                ]
            )
            stranger.session.rerun(page, **query)
            if not page:
                stranger.session.explain(with_run=True)
            searching.look(f"page {page!r} asked for a thing of somebody else")
            _ask_for_a_drawing(stranger, theirs, searching)

    return ask


def _ask_for_a_drawing(stranger: Visitor, theirs: Owner, searching: Search) -> None:
    """With a token that is made up of what a stranger may know, or for a picture of somebody else: both are refused.

    What is said then is searched too, but a refusal counts as no answer.
    """
    session, dice, found = stranger.session, stranger.dice, searching.found
    own = session.token
    made_up = [f"{dice.randrange(16**32):032x}", theirs.session.id, theirs.model, theirs.picture, "", own]
    session.token = dice.choice(made_up)
    picture = theirs.picture if session.token == own else "sample-0-1"
    try:
        session.explain(picture=picture)
    except SessionError as error:
        searching.look_at_refusal("a drawing asked for with what is somebody else's")
        if "api/explain was answered with 404:" not in str(error):
            with found.lock:
                found.errors.append(f"the stranger: {error}")
    else:
        with found.lock:
            found.leaks.append(f"the stranger: a drawing of {picture} was given for a token of no session")
    finally:
        session.token = own


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks isolation", description=__doc__)
    parser.add_argument("--visitors", type=int, default=VISITORS, help=f"at once (default: {VISITORS})")
    parser.add_argument("--answers", type=int, default=ANSWERS, help=f"to search (default: {ANSWERS:,})")
    parser.add_argument("--write", action="store_true", help="write the result to docs/isolation.md")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EXPLORER_DATA"] = folder
        log = Path(folder, "log.txt")
        with served(Path(folder), log=log) as (url, _):
            found = isolate(url, options.visitors, options.answers)
        found.errors += logged_errors(log)
    told = (
        f"{len(found.leaks)} of {found.answers:,} answers ({found.reruns:,} re-runs, {found.drawings:,} drawings, "
        f"{found.files:,} pictures by their address) held something of somebody else, {options.visitors} visitors at "
        f"once and one who asks for what is theirs; {len(found.errors)} errors. {machine()}."
    )
    print(told)
    if options.write:
        write("isolation", [told])
    for line in [*found.leaks[:20], *found.errors[:20]]:
        print(line)
    return 1 if found.leaks or found.errors else 0
