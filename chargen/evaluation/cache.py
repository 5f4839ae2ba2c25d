"""Cache: a text that repeats itself is expected to go on as it did before.

A match model over the very text that is being read (Kuhn and De Mori 1990 for the cache; Mahoney's
PAQ for the match): where the last few tokens stood before, the token that followed them is
expected again, as long as it keeps coming. It is mixed in by

::

    P'(c) = (1 - w_l) P(c) + w_l [c is expected]

where l tells how many tokens in a row came as expected, and w_l is the mean of the posterior
probabilities that the cache gave the token, over all places of that l so far (online EM). Nothing
is tuned; only what has been read already is used.

Legend of shapes: N tokens of the text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from chargen.evaluation.nll import Floats
from chargen.tokenizers import Ids

CONTEXT = 4  # tokens that must have stood before
LENGTHS = 24  # numbers of tokens in a row that are told apart, at most


def expectations(ids: Ids) -> list[tuple[int, int]]:
    """Return the expected token at each place, -1 for none, and how many came as expected."""
    text, seen = ids.tolist(), dict[tuple[int, ...], int]()
    place, followed, found = 0, 0, []
    for here, token in enumerate(text):
        context = tuple(text[max(0, here - CONTEXT) : here])
        if not place:
            place, followed = seen.get(context, 0), 0
        found.append((text[place] if place else -1, followed))
        if place and text[place] == token:
            place, followed = place + 1, followed + 1
        else:
            place = 0
        if len(context) == CONTEXT:
            seen[context] = here
    return found


def with_cache(nll: Floats, expected: Sequence[tuple[int, int]], ids: Ids) -> Floats:
    """Return -ln P of each of ids (N) with a cache, from those without it."""
    hits, places = [0.5] * LENGTHS, [1.5] * LENGTHS
    mixed = nll.copy()
    for here, (token, (guess, followed)) in enumerate(zip(ids.tolist(), expected, strict=True)):
        if guess < 0:
            continue
        length = min(followed, LENGTHS - 1)
        weight = hits[length] / places[length]
        own = (1 - weight) * math.exp(-nll[here])
        whole = own + weight * (guess == token)
        mixed[here] = -math.log(whole) if whole else math.inf
        hits[length] += weight / whole if guess == token else 0.0
        places[length] += 1
    return mixed
