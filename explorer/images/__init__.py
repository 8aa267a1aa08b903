"""Uploaded bytes -> checked upright RGB pixels (`decoding`, with `boxed` and `dicom`, in the way that a `rendering`
says), or pixels that every machine has (`photos`); pixels <-> input of a network (`model_input`), changed by dials on
the way (`changes`)."""

from explorer.images.changes import RANGES, REST, Dials, change, move_mask
from explorer.images.decoding import FORMATS, MAX_BYTES, REDUCED, SUFFIXES, DecodedImage, ImageError, decode, kind_of
from explorer.images.model_input import Frame, normalise, resize, seen_pixels, to_input, to_pixels, visible_part
from explorer.images.photos import PHOTOS, Photo
from explorer.images.rendering import MAX_PIXELS, PAPERS, PLAIN, Paper, Rendering, Values, common_scale, widened
