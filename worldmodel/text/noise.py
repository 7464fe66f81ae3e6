"""Instructions with words missing and others in between: nobody says exactly what was learned."""

import numpy as np

_EMPTY = 0.1
_DELETED = 0.125
_INSERTED = 3
_LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))
_LENGTHS = (2, 9)


def noisy(instruction: str, generator: np.random.Generator) -> str:
    """Return `instruction` with random deletions and insertions, one time in ten nothing of it.

    Each word is left out one time in eight, and up to three made-up words come in anywhere: what
    stands around the words that are known shall mean nothing. After EDA (arXiv 1901.11196), which
    puts in synonyms; made-up words leave those for an evaluation (`configs/wording`).
    """
    words = [each for each in instruction.split() if generator.random() >= _DELETED]
    for _ in range(generator.integers(_INSERTED + 1)):
        made_up = "".join(generator.choice(_LETTERS, generator.integers(*_LENGTHS)))
        words.insert(int(generator.integers(len(words) + 1)), made_up)
    return "" if generator.random() < _EMPTY else " ".join(words)
