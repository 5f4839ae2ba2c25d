"""``chargen sample`` as a process: prompts, several texts, JSON, stop texts, wrong options."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run, write
from tests.processes import finish

pytestmark = pytest.mark.usefixtures("with_model")
SEEDED = ("sample", "--seed", "1", "-n", "40")


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_prompt_comes_from_a_file_or_from_standard_input(chargen: Run) -> None:
    text = chargen(*SEEDED, "-p", "The value\n").stdout
    assert text.startswith("The value\n")
    write("prompt.txt", "The value\n")
    assert chargen(*SEEDED, "-f", "prompt.txt").stdout == text
    command = [sys.executable, "-m", "chargen", *SEEDED, "--file", "-"]
    piped = finish(command, input=b"The value\n")
    assert piped.stdout.decode() == text


def test_escapes_are_read_in_every_option_and_in_no_file(chargen: Run) -> None:
    write("plain.txt", "The\n")
    write("escaped.txt", r"The\n")
    (plain,) = lines(chargen(*SEEDED, "-f", "plain.txt", "--json").stdout)
    assert lines(chargen(*SEEDED, "-p", r"The\n", "--json").stdout) == [plain]
    assert lines(chargen(*SEEDED, "-p", "The\n", "--json").stdout) == [plain]
    (escaped,) = lines(chargen(*SEEDED, "-f", "escaped.txt", "--json").stdout)
    assert escaped["prompt"] == r"The\n"
    assert lines(chargen(*SEEDED, "-p", r"The\\n", "--json").stdout) == [escaped]
    assert json.loads(chargen("next", "-p", r"The\n", "--json").stdout)["prompt"] == "The\n"
    for typed in (("--ban", r"\n"), ("-l", r"\n-99"), ("--stop", r"\n")):
        assert "\n" not in chargen(*SEEDED, "-n", "300", *typed).stdout
    assert "r" in chargen(*SEEDED, "-n", "300", "--ban", r"\r").stdout


def test_several_texts_are_told_apart_and_the_first_is_that_of_one(chargen: Run) -> None:
    one = chargen(*SEEDED, "-p", "The ").stdout
    texts = chargen(*SEEDED, "-p", "The ", "--num-samples", "3").stdout.split("\n---\n")
    assert len(texts) == len(set(texts)) == 3
    assert texts[0] == one
    found = lines(chargen(*SEEDED, "-p", "The ", "--num-samples", "3", "--json").stdout)
    assert ["The " + line["text"] for line in found] == texts
    assert {line["finish_reason"] for line in found} == {"length"}
    assert {line["seed"] for line in found} == {1}


def test_log_probabilities_come_with_their_tokens(chargen: Run) -> None:
    (line,) = lines(chargen(*SEEDED, "-p", "The ", "--json", "--logprobs").stdout)
    assert "".join(line["tokens"]) == line["text"]
    assert len(line["logprobs"]) == 40
    assert all(value < 0 for value in line["logprobs"])


def test_stop_texts_end_it(chargen: Run) -> None:
    text = chargen("sample", "--seed", "1", "-n", "400").stdout
    stopped = chargen(
        "sample", "--seed", "1", "-n", "400", "--stop", "zzzz", "--stop", "\\n"
    ).stdout
    assert stopped == text.split("\n")[0]
    (line,) = lines(chargen("sample", "--seed", "1", "-n", "400", "--stop", "e", "--json").stdout)
    assert line["finish_reason"] == "stop"
    assert "e" not in line["text"]


def test_beam_search_beats_greedy_decoding_and_is_not_random(chargen: Run) -> None:
    options = ("sample", "-p", "The ", "-n", "30", "--json", "--logprobs")
    done = chargen(*options, "--beam", "8", "--num-samples", "2")
    assert done.stderr == ""
    first, second = (math.fsum(line["logprobs"]) for line in lines(done.stdout))
    (greedy,) = lines(chargen(*options, "--temp", "0", "--seed", "1").stdout)
    assert first >= second
    assert first >= math.fsum(greedy["logprobs"])
    assert chargen(*options, "--beam", "8", "--num-samples", "2").stdout == done.stdout


def test_every_filter_changes_the_text(chargen: Run) -> None:
    plain = chargen(*SEEDED).stdout
    for options in (
        ("--top-k", "2"),
        ("--typical", "0.2"),
        ("--top-p", "0.3"),
        ("--min-p", "0.5"),
        ("--repeat-penalty", "5"),
        ("--presence-penalty", "5"),
        ("--frequency-penalty", "5"),
        ("--dry-multiplier", "9", "--dry-allowed-length", "0", "--dry-sequence-breaker", "q"),
        ("--mirostat", "2", "--mirostat-ent", "1", "--mirostat-lr", "1"),
        ("--ban", "aeiou"),
        ("--logit-bias", "x+9", "-l", " -9"),
    ):
        done = chargen(*SEEDED, *options)
        assert done.returncode == 0, done.stderr
        assert done.stdout != plain, options
    assert not set("aeiou") & set(chargen(*SEEDED, "--ban", "aeiou").stdout)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-f", "nothing"), "corpus 'nothing' does not exist; give a file, a folder"),
        (("-f", "latin"), "corpus 'latin' is not utf-8: byte 0xE9 at offset 3; name its encoding"),
        (("-f", "latin", "-p", "x"), "--prompt and --file cannot be combined; leave one out"),
        (("--logprobs",), "logprobs are written with --json only; add it"),
        (("-l", "e"), "logit-bias is 'e'; allowed: a character and a number, such as e-2"),
        (("-l", "é+1"), "logit-bias is 'é'; allowed: characters that have a token of their own"),
        (
            ("-p", r"\section"),
            r"prompt has \s; allowed escapes: \n, \t, \r, and \\ for a backslash; -f",
        ),
        (("-p", "The\\"), r"prompt has a single \ at its end; allowed escapes: \n, \t, \r, and \\"),
        (("--stop", r"\q"), r"stop has \q; allowed escapes: \n, \t, \r, and \\ for a backslash"),
        (("--ban", "\\\n"), r"ban has \\n; allowed escapes: \n, \t, \r, and \\ for a backslash"),
        (("-l", r"\q-2"), r"logit-bias has \q; allowed escapes: \n, \t, \r, and \\ for a back"),
        (("--dry-sequence-breaker", r"\q"), r"dry-sequence-breakers has \q; allowed escapes: "),
        (("--min-p", "2"), "min-p is 2.0; allowed: 0 (off) to 1"),
        (("--regex", "a", "--words", "latin"), "regex and words cannot be combined; leave one out"),
        (("--regex", "a", "--beam", "2"), "beam search takes no regex, words or no-copy; leave"),
        (("--no-copy", "0"), "no-copy is 0; allowed: 1 or more"),
        (("--num-samples", "0"), "num-samples is 0; allowed: 1 or more"),
        (("--num-samples", "4097"), "num-samples is 4097; allowed: 1 to 4096"),
        (("--beam", "0"), "beam is 0; allowed: 1 to 1024"),
        (
            ("--beam", "2", "-t", "3", "--top-k", "1", "--seed", "4"),
            "beam search is not random sampling; leave --temperature, --top-k, --seed out",
        ),
        (
            ("--mirostat", "2", "--top-k", "1"),
            "mirostat replaces the other truncation; leave --top-k",
        ),
        (("--mirostat-ent", "3"), "mirostat is off without --mirostat 2; leave --mirostat-ent out"),
        (("--temp", "0", "--top-p", "0.9"), "temperature is 0; leave --top-p out"),
        (("--dry-base", "2"), "DRY is off without --dry-multiplier; leave --dry-base out"),
        (
            ("--repeat-last-n", "9"),
            "no penalty is given that looks back; leave --repeat-last-n out",
        ),
        (("--mirostat", "1"), "mirostat is 1; allowed: 0 (off), 2"),
        (("--dry-sequence-breaker", "ab"), "dry-sequence-breaker is 'ab'; allowed: a character"),
    ],
)
def test_what_cannot_be_is_one_clear_line(
    chargen: Run, options: tuple[str, ...], message: str
) -> None:
    Path("latin").write_bytes("caf\xe9".encode("latin-1"))
    done = chargen(*SEEDED, *options)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert done.stderr.startswith(f"chargen: {message}")
    assert done.stderr.count("\n") == 1


def test_a_pattern_holds_for_the_whole_text(chargen: Run) -> None:
    pattern = r"[A-Z][a-z]{2,9}( [a-z]{1,9}){3,6}\."
    found = lines(chargen(*SEEDED, "--regex", pattern, "--num-samples", "5", "--json").stdout)
    assert len({line["text"] for line in found}) == 5
    for line in found:
        assert re.fullmatch(pattern, line["text"])
        assert line["finish_reason"] == ("length" if len(line["text"]) == 40 else "complete")
    done = chargen(*SEEDED, "--regex", "x{50}")
    assert done.stderr == (
        "chargen: length is 40; allowed: 50 or more, the shortest text that meets the constraints\n"
    )


@pytest.mark.parametrize(
    "options",
    [
        ("--ban", "s"),
        ("--stop", "s"),
        ("--stop", "es", "--stop", "q"),
        ("--ban", "qs", "--stop", "x"),
        ("--ban", "s", "--temp", "0", "--no-stream"),
    ],
)
def test_bans_and_stop_texts_are_part_of_a_pattern(chargen: Run, options: tuple[str, ...]) -> None:
    pattern = ("--regex", "(yes|yellow)", *options)
    found = lines(chargen(*SEEDED, *pattern, "--num-samples", "9", "--json").stdout)
    assert {(line["text"], line["finish_reason"]) for line in found} == {("yellow", "complete")}
    done = chargen(*SEEDED, "-p", "say ", *pattern)
    assert (done.stdout, done.stderr) == ("say yellow", "")


def test_bans_and_stop_texts_are_part_of_a_word_list(chargen: Run) -> None:
    write("words.txt", "yes\nyellow\nno\n")
    for options in (("--ban", "sS"), ("--stop", "s", "--stop", "S")):
        done = chargen(*SEEDED, "--words", "words.txt", *options, "--num-samples", "20", "--json")
        for line in lines(done.stdout):
            assert set(re.findall(r"[^\W_]+", line["text"].lower())) <= {"yellow", "no"}
    done = chargen(*SEEDED, "--words", "words.txt", "--stop", "\\n", "--num-samples", "9", "--json")
    assert {line["finish_reason"] for line in lines(done.stdout)} <= {"stop", "length"}
    assert not any("\n" in line["text"] for line in lines(done.stdout))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--regex", "yes|yellow", "--ban", "e"), "regex is 'yes|yellow', which needs banned char"),
        (("--regex", "yes|\xff", "--ban", "y"), "regex is 'yes|\xff', which needs characters out"),
        (
            ("--regex", "yes|yellow", "--stop", "e"),
            "regex is 'yes|yellow', which matches no text w",
        ),
        (("--regex", "[sy]+", "--ban", "sy"), "regex is '[sy]+', which matches no text of the mod"),
        (("--words", "words.txt", "--ban", "eE"), "words has 2 words, none of the model's charact"),
    ],
)
def test_what_no_text_can_meet_is_refused_before_the_first_character(
    chargen: Run, options: tuple[str, ...], message: str
) -> None:
    write("words.txt", "yes\nyellow\n")
    for more in ((), ("--json",), ("--num-samples", "3")):
        done = chargen("sample", "-p", "The ", *options, *more)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"chargen: {message}")
        assert done.stderr.count("\n") == 1


def test_only_listed_words_are_generated(chargen: Run) -> None:
    write("words.txt", "the\nof\nand\nvalue\n")
    text = chargen("sample", "--seed", "1", "-n", "200", "--words", "words.txt").stdout
    assert set(re.findall(r"[^\W_]+", text.lower())) <= {"the", "of", "and", "value"}
    assert len(text) == 200


def test_nothing_is_copied_from_the_text(
    chargen: Run, prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = chargen("sample", "--no-copy", "20")
    assert done.returncode == 2
    assert "train with --copy-index to have it" in done.stderr
    monkeypatch.delenv("CHARGEN_CHECKPOINTS")
    write("text.txt", prose)
    options = ("--hidden", "16", "--steps", "20", "--threads", "1")
    assert chargen("train", "text.txt", "--name", "kept", "--copy-index", *options).returncode == 0
    greedy = ("sample", "-m", "kept", "--temp", "0.2", "-n", "3000", "--seed", "1", "--no-copy")
    text = chargen(*greedy, "16", "-p", prose[200:240]).stdout
    _check_dead_end(chargen, prose[200:230])
    learned = prose[: round(len(prose) * 0.9)]
    assert not any(text[n : n + 16] in learned for n in range(40 - 15, len(text) - 15))


def _check_dead_end(chargen: Run, copied: str) -> None:
    """Check that a text is followed by an error where only a copy of the text could go on."""
    pattern = ("--no-copy", "16", "--regex", "\n" + re.escape(copied))
    options = ("sample", "-m", "kept", "-p", "\\n\\n", "--seed", "1", *pattern)
    message = "the text ended before it met the constraints: no-copy left no token to continue"
    done = chargen(*options)
    shown = done.stdout
    assert (done.returncode, done.stderr) == (1, f"chargen: {message}\n")
    assert len(shown) < 3 + 16 and ("\n\n\n" + copied).startswith(shown)
    done = chargen(*options, "--num-samples", "2")
    assert (done.returncode, done.stdout) == (1, f"{shown}\n---\n{shown}")
    assert done.stderr == f"chargen: {message} (text 1, 2)\n"
    done = chargen(*options, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert lines(done.stdout)[0]["finish_reason"] == "dead_end"
