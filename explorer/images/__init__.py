"""Uploaded bytes -> checked upright RGB pixels (`decoding`), or pixels that every machine has (`photos`); pixels <->
input of a network (`model_input`), changed by dials on the way (`changes`)."""

from explorer.images.changes import RANGES, REST, Dials, change, move_mask
from explorer.images.decoding import MAX_BYTES, MAX_PIXELS, DecodedImage, ImageError, decode
from explorer.images.model_input import normalise, resize, seen_pixels, to_input, to_pixels, visible_part
from explorer.images.photos import PHOTOS, Photo
