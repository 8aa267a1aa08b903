"""The one rendering of all pictures of a set, found while they are read."""

from dataclasses import replace

from explorer.datasets.untrusted_files import FilePath, quote
from explorer.images import REDUCED, DecodedImage, Rendering, Values, common_scale, decode, widened


class CommonRendering:
    """`now` is the given one. Where that leaves the scale open, it has one as soon as a picture of one channel of more
    than 8 bits was decoded, wide enough for all that were; it may widen with each."""

    def __init__(self, given: Rendering) -> None:
        self.now = given
        self._is_open = given.scale is None
        self._values: Values | None = None
        self._scaled: dict[FilePath, Rendering] = {}
        self._transparent, self._windowed, self._reduced = 0, 0, 0
        self._one_colour: list[FilePath] = []

    def decode(self, content: bytes, path: FilePath) -> DecodedImage:
        """Raises ImageError."""
        picture = decode(content, path[-1], self.now)
        if picture.values:
            self._values = widened(self._values, picture.values)
            scale = common_scale(self._values)
            if self._is_open and scale != self.now.scale:
                self.now = replace(self.now, scale=scale)
                picture = picture.rendered(self.now)
            self._scaled[path] = self.now
        self._windowed += picture.format == "DICOM" and not picture.values
        self._reduced += REDUCED in picture.notes
        self._transparent += picture.transparent
        if picture.transparent and picture.is_one_colour:
            self._one_colour.append(path)
        return picture

    def is_outdated(self, path: FilePath) -> bool:
        """Whether that picture was decoded before one with larger values came."""
        return self._scaled.get(path, self.now) != self.now

    def notes(self) -> list[str]:
        notes, paper = [], self.now.paper
        if self._scaled and self.now.scale:
            low, high = self.now.scale
            notes.append(
                f"Images of one channel with more than 8 bits: {len(self._scaled):,}. All have the same scale, {low:g} "
                f"(black) to {high:g} (white), as new images for a network that learned from them will."
            )
        if self._windowed:
            notes.append(f"DICOM images with the window that each file names, or 8 bits: {self._windowed:,}.")
        if self._reduced:
            notes.append(f"Images of several 16-bit channels, reduced to their upper 8 bits: {self._reduced:,}.")
        if self._transparent:
            notes.append(f"Images with transparent parts, laid on {paper}: {self._transparent:,}.")
        if self._one_colour:
            notes.append(
                f"Images that are one colour on {paper}, so that nothing is seen: {len(self._one_colour):,} "
                f"({quote(*self._one_colour)}). Choose another colour."
            )
        return notes
