"""The splits that the names of folders and tables say."""

import re

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_AROUND_SPLITS = {"set", "data", "dataset", "split", "image", "images", "imgs", "seg"}


def split_of(folder: str) -> str | None:
    """The split that a folder's name says: `train`, `Valid`, `test_set`, `seg_train`, `test1`."""
    words = [word for word in re.split(r"[ _-]+", folder.lower()) if word not in _AROUND_SPLITS]
    return SPLITS.get(words[0].rstrip("0123456789")) if len(words) == 1 else None


def split_in(name: str) -> str | None:
    """The split that one of the words of a table's name says: `train_labels`, `val_annotations`."""
    return next((split for word in re.split(r"[\W_]+", name.lower()) if (split := SPLITS.get(word))), None)
