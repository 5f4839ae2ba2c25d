"""``chargen classify``: the labels of held-out texts, and those of files."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest

from tests.conftest import Run, write
from tests.labelled import LINES, ROWS, save_labelled

WORDS = {"north": ["fjord", "snow", "pine"], "south": ["olive", "sand", "palm"]}
TRAIN = (
    *("train", "letters.csv", "--field", "text", "--label", "author", "--name", "letters"),
    *("--steps", "30", "--hidden", "16", "--base", "none", "--threads", "1", "--seed", "1"),
)


def letters(count: int = 80) -> None:
    """Write letters of two authors who have words of their own."""
    draw = random.Random(1)
    with Path("letters.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("author", "text"))
        for number in range(count):
            author = ("north", "south")[number % 2]
            rows.writerow((author, " ".join(draw.choices(WORDS[author], k=8))))


def test_a_trained_model_knows_whose_letters_they_are(chargen: Run) -> None:
    letters()
    done = chargen(*TRAIN)
    assert "labels of 100.0% of held-out texts are told rightly" in done.stderr
    shown = chargen("classify", "-m", "letters").stdout
    assert "texts  8 with a label" in shown
    assert "1 north 4 0" in shown
    assert "2 south 0 4" in shown
    found = json.loads(chargen("classify", "-m", "letters", "--json").stdout)
    assert found["chargen"]["accuracy"] == 1
    assert found["chargen"]["macro_f1"] == 1
    assert found["chargen"]["confusion"] == [[4, 0], [0, 4]]
    assert found["calibrated"]["temperature"] > 0
    write("new.txt", "snow snow fjord\nolive olive olive\n\npalm sand\n")
    done = chargen("classify", "new.txt", "-m", "letters", "--lines", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["label"] for line in lines] == ["north", "south", "south"]
    assert [line["text"] for line in lines] == ["new.txt:1", "new.txt:2", "new.txt:3"]
    assert all(sum(line["probabilities"].values()) == pytest.approx(1) for line in lines)
    others = json.loads(chargen("classify", "-m", "letters", "--baselines", "--json").stdout)
    assert others["logistic-regression"]["accuracy"] == others["naive-bayes"]["accuracy"] == 1
    assert others["majority"]["accuracy"] == 0.5
    rare = [f"north,{' '.join(WORDS['north'])}\n", f"south,{' '.join(WORDS['south'])}\n"]
    write("new.csv", "author,text\n" + rare[0] * 3 + rare[1])
    told = ("classify", "new.csv", "-m", "letters", "--json")
    assert json.loads(chargen(*told).stdout)["chargen"]["accuracy"] == 1
    int8 = chargen("classify", "-m", "letters", "--int8", "--json").stdout
    assert json.loads(int8)["chargen"]["accuracy"] == 1
    sample = chargen("sample", "-m", "letters", "--label", "north", "--seed", "1", "-t", "0.5")
    assert not set(WORDS["south"]) & set(sample.stdout.split())


def test_labels_in_a_file_are_compared(chargen: Run) -> None:
    save_labelled(Path("rows/model.safetensors"), **ROWS)
    write("new.csv", "author,text\na,abcde\nb,vwxyz\na,vwxyz\n,abc\n")
    done = chargen("classify", "new.csv", "-m", "rows")
    assert "texts  3 with a label, 1 without one left out" in done.stdout
    assert "0.6667" in done.stdout
    named = chargen("classify", "new.csv", "-m", "rows", "--json", "--prior", "uniform").stdout
    assert json.loads(named)["chargen"]["texts"] == 3
    write("new.csv", "author,text\nPoe,abcde\n")
    done = chargen("classify", "new.csv", "-m", "rows")
    assert done.stdout.endswith("new.csv\n")
    assert done.stderr.endswith("labels that the model does not know count as none: Poe\n")


def test_one_text_with_a_label_gets_a_line(chargen: Run) -> None:
    save_labelled(Path("lines/model.safetensors"), **LINES)
    write("a.txt", "abcde\n")
    assert chargen("classify", "a.txt", "-m", "lines").stdout.startswith("a ")


def test_control_characters_in_labels_are_spelled(chargen: Run) -> None:
    labels = ("a\nb", "\u202ec", " d ")
    save_labelled(Path("rows/model.safetensors"), labels, **ROWS)
    write("new.jsonl", "".join(json.dumps({"text": "abc", "author": x}) + "\n" for x in labels * 2))
    shown = chargen("classify", "new.jsonl", "-m", "rows").stdout
    assert [line[2:12].rstrip() for line in shown.splitlines()[-3:]] == [
        "'a\\nb'",
        "'\\u202ec'",
        "' d '",
    ]
    assert "-0.0000" not in shown
    write("new.txt", "abc")
    assert "'a\\nb' 0." in chargen("classify", "new.txt", "-m", "rows").stdout
    listed = chargen("repl", "-m", "rows", input="/label\n").stderr
    assert "  '\\u202ec'\n  ' d '" in listed


def test_texts_without_labels_get_a_line_each(chargen: Run) -> None:
    save_labelled(Path("lines/model.safetensors"), **LINES)
    write("one.txt", "abcde\nvwxyz\n")
    lines = chargen("classify", "one.txt", "-m", "lines").stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("a ")
    assert lines[0].endswith("one.txt:1")
    piped = chargen("classify", "-", "-m", "lines", input="abc\n").stdout
    assert piped.startswith("a ")


def test_a_frequent_label_is_likelier_before_a_text_is_seen(chargen: Run) -> None:
    counts = {"a": 90, "b": 9, "a, or b=c": 1}
    save_labelled(Path("rows/model.safetensors"), **ROWS, label_counts=counts)
    write("new.csv", "author,text\n,a\n,v\n")
    shares = []
    for prior in ("training", "uniform"):
        done = chargen("classify", "new.csv", "-m", "rows", "--json", "--prior", prior)
        shares.append(json.loads(done.stdout.splitlines()[1])["probabilities"]["a"])
    assert shares[0] > 2 * shares[1]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--passage", "0"), "passage is 0; allowed: 1 or more characters"),
        (("--passage", "9", "--lines"), "--lines and --passage cannot be combined"),
        (("--prior", "none"), "prior is 'none'; allowed: training, uniform"),
        (("--passage", "900"), "of 900 characters to classify; give a smaller --passage"),
        (("--baselines",), "--baselines learn the corpus of the model"),
    ],
)
def test_what_it_refuses(more: tuple[str, ...], said: str, chargen: Run) -> None:
    save_labelled(Path("lines/model.safetensors"), **LINES)
    write("one.txt", "abcde\n")
    done = chargen("classify", "one.txt", "-m", "lines", *more)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_model_without_labels_is_refused(chargen: Run, with_model: Path) -> None:
    done = chargen("classify")
    assert done.returncode != 0
    assert "has no labels; train one: chargen train FILE --label NAME" in done.stderr
