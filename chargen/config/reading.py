"""How a text is read."""

from __future__ import annotations

from dataclasses import dataclass

from chargen.config.fields import check_types, documented, require
from chargen.errors import ConfigError

NEWLINES = ("fold", "keep")
RECORD_ENDS = {"lines": "\n", "rows": "\x1e", "files": "\x1e"}  # U+001E is a record separator
NAMES = ("folder", "file")  # of which a label is made
TOKENIZERS = ("char", "byte", "unigram", "bpe")
TEXT = "Text"


@dataclass(frozen=True)
class ReadConfig:
    """Which text is read, and how it is cut into tokens.

    A record is a text of its own with a beginning and an end; some are held out, drawn at random
    by label. With labels of files, and no records, each file is a text whose last part is held out.
    """

    sources: tuple[str, ...] = ()
    tokenizer: str = documented("char", f"One of {', '.join(TOKENIZERS)}; byte: any file.", TEXT)
    vocab_size: int = documented(1000, "Vocabulary size of unigram and bpe.", TEXT)
    encoding: str | None = documented(
        None, "Encoding of all files; default: UTF-8, or by the byte-order mark.", TEXT
    )
    newlines: str = documented("fold", "Line ends: fold turns CRLF into LF, keep does not.", TEXT)
    separator: str = documented(
        "\n", r"Text between two files or rows of one text; \n is a newline.", TEXT, escapes=True
    )
    field: str | None = documented(None, "Field of .jsonl and .csv files with the text.", TEXT)
    documents: str = documented("text", "Documents: text takes their text, raw their source.", TEXT)
    records: str | None = documented(
        None, "Texts of their own: lines, files, or rows of --field; default: one text.", TEXT
    )
    label: str | None = documented(
        None, "Label of each text: the name of another field; without --field folder or file.", TEXT
    )
    split_seed: int = documented(0, "Random seed of which records are held out.", TEXT)

    def __post_init__(self) -> None:
        check_types(self)
        choices = {"tokenizer": TOKENIZERS, "newlines": NEWLINES, "documents": ("text", "raw")}
        for name, allowed in choices.items():
            require(getattr(self, name) in allowed, name, getattr(self, name), ", ".join(allowed))
        require(1 <= self.vocab_size <= 1 << 20, "vocab-size", self.vocab_size, "1 to 1048576")
        codec, known = self.encoding, "names Python knows, such as utf-8, latin-1, cp1252"
        require(codec is None or _is_encoding(codec), "encoding", codec, known)
        self._check_records()

    def _check_records(self) -> None:
        if self.field is not None and self.label is not None and self.records is None:
            object.__setattr__(self, "records", "rows")
        kind, label = self.records, self.label
        require(kind in (None, *RECORD_ENDS), "records", kind, ", ".join(RECORD_ENDS))
        fits = kind != "rows" or self.field is not None
        require(fits, "records", kind, "lines, files, or with --field rows")
        fits = self.field is None or kind in (None, "rows")
        require(fits, "records", kind, "rows, where --field names what is read")
        names = label in (None, *NAMES) or self.field is not None
        names = names and (label is None or label != self.field)
        require(names, "label", label, "folder, file, or with --field the name of another field")
        if (kind or label) and self.separator != "\n":
            raise ConfigError("separator does nothing with --records or --label; leave it out")
        require(0 <= self.split_seed < 1 << 63, "split-seed", self.split_seed, "0 to 2^63 - 1")

    @property
    def end(self) -> str | None:
        """The character that ends each record; None without records."""
        return RECORD_ENDS[self.records] if self.records else None


def _is_encoding(name: str) -> bool:
    try:
        b"0".decode(name)
    except UnicodeDecodeError:  # of one that takes several bytes a character
        return True
    except (LookupError, UnicodeError):
        return False
    return True
