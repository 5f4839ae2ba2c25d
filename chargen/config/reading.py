"""How a text is read."""

from __future__ import annotations

from dataclasses import dataclass

from chargen.config.fields import check_types, documented, require

NEWLINES = ("fold", "keep")
TOKENIZERS = ("char", "byte", "unigram", "bpe")
TEXT = "Text"


@dataclass(frozen=True)
class ReadConfig:
    """Which text is read, and how it is cut into tokens."""

    sources: tuple[str, ...] = ()
    tokenizer: str = documented("char", f"One of {', '.join(TOKENIZERS)}; byte: any file.", TEXT)
    vocab_size: int = documented(1000, "Vocabulary size of unigram and bpe.", TEXT)
    encoding: str | None = documented(
        None, "Encoding of all files; default: UTF-8, or by the byte-order mark.", TEXT
    )
    newlines: str = documented("fold", "Line ends: fold turns CRLF into LF, keep does not.", TEXT)
    separator: str = documented(
        "\n", r"Text between two files or records; \n is a newline.", TEXT, escapes=True
    )
    field: str | None = documented(None, "Field of .jsonl and .csv files with the text.", TEXT)
    documents: str = documented("text", "Documents: text takes their text, raw their source.", TEXT)

    def __post_init__(self) -> None:
        check_types(self)
        choices = {"tokenizer": TOKENIZERS, "newlines": NEWLINES, "documents": ("text", "raw")}
        for name, allowed in choices.items():
            require(getattr(self, name) in allowed, name, getattr(self, name), ", ".join(allowed))
        require(1 <= self.vocab_size <= 1 << 20, "vocab-size", self.vocab_size, "1 to 1048576")
        codec, known = self.encoding, "names Python knows, such as utf-8, latin-1, cp1252"
        require(codec is None or _is_encoding(codec), "encoding", codec, known)


def _is_encoding(name: str) -> bool:
    try:
        b"0".decode(name)
    except UnicodeDecodeError:  # of one that takes several bytes a character
        return True
    except (LookupError, UnicodeError):
        return False
    return True
