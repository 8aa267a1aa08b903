"""Whether the classes of a dataset have about as many pictures, in a sentence for the person who trains on it."""

from collections.abc import Sequence

UNBALANCED = 5  # times as many training pictures in the largest class as in the smallest, from which the app warns
NAMED, LONGEST = 3, 40  # classes in a sentence, and letters of their names


def imbalance(class_names: Sequence[str], counts: Sequence[tuple[int, int, int]]) -> str:
    """Which classes differ by a factor of `UNBALANCED` or more in their training pictures, the accuracy of always
    predicting the commonest one, and the remedy. Empty where the classes are more alike, or one has no pictures.

    `counts` are the training, validation and test pictures of each class.
    """
    training = {name: train for name, (train, _, _) in zip(class_names, counts, strict=True)}
    commonest = max(training, key=training.__getitem__)
    most, fewest = training[commonest], min(training.values())
    if not fewest or most < UNBALANCED * fewest:
        return ""
    rare = sorted((name for name in training if training[name] * UNBALANCED <= most), key=training.__getitem__)
    pictures = ", ".join(f"{quoted(name)} {training[name]:,}" for name in rare[:NAMED])
    others = f", and {len(rare) - NAMED:,} more classes a fifth of that or less" if len(rare) > NAMED else ""
    tests = [test for _, _, test in counts]
    answered = tests[class_names.index(commonest)] / max(1, sum(tests))
    return (
        f"The classes are not balanced, {most / fewest:,.0f} to 1: {quoted(commonest)} has {most:,} training "
        f"images, {pictures}{others}. Always predicting {quoted(commonest)} reaches {answered:.1%} test accuracy. "
        "Class weights, in the tab Training, make rare classes count as much in the loss as common ones."
    )


def quoted(name: str) -> str:
    """The name of a class in quotation marks, cut to `LONGEST` letters."""
    return f"'{name if len(name) <= LONGEST else f'{name[: LONGEST - 1]}…'}'"
