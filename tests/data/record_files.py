"""Files of records, and what a corpus of them holds."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Sequence

from chargen.config import ReadConfig
from chargen.data.dataset import Dataset, Text, read_text
from chargen.data.texts import Texts
from chargen.tokenizers import Ids

Labelled = list[tuple[str, str | None]]
Rows = Sequence[tuple[str, str | None]]


def read(*sources: str, **options: object) -> Text:
    return read_text(ReadConfig(sources, **options))  # type: ignore[arg-type]


def texts_in(data: Dataset, ids: Ids, texts: Texts | None) -> Labelled:
    """Return the texts of a part with the names of their labels."""
    assert texts is not None
    assert texts.borders[0] == 0
    assert texts.borders[-1] == len(ids)
    names = [None if label < 0 else data.labels[label] for label in texts.labels]
    borders = texts.borders.tolist()
    found = [data.tokenizer.decode(ids[a:b]) for a, b in itertools.pairwise(borders)]
    return list(zip(found, names, strict=True))


def parts_of(data: Dataset) -> list[Labelled]:
    """Return the texts of the training, the validation and the test part."""
    held = [texts_in(data, part.ids, part.texts) for part in (data.validation, data.test)]
    return [texts_in(data, data.train, data.texts), *held]


def as_csv(rows: Rows) -> str:
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(["id", "author", "text"])
    table.writerows([n, label, text] for n, (text, label) in enumerate(rows))
    return out.getvalue()


def as_jsonl(rows: Rows) -> str:
    return "".join(f"{json.dumps({'text': text, 'author': label})}\n" for text, label in rows)
