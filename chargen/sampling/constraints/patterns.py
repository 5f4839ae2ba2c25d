"""Regular expressions as automata, with the syntax and semantics of Python's ``re``.

``re`` itself parses the pattern and decides which characters a set contains, so that a text
matches here exactly if ``re.fullmatch`` matches it. The tree becomes a nondeterministic automaton
of linear size (Thompson, 1968). Sets of its states, which are the states of the deterministic
automaton, are made only when a text reaches them, so that no pattern grows exponentially. The
distance of a set to acceptance is the smallest of its members', known from one pass over the
product of the nondeterministic automaton and that of the stop texts.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections import deque
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chargen.errors import ConfigError
from chargen.sampling.constraints.automata import (
    NEVER,
    Alphabet,
    Automaton,
    Counts,
    State,
    number_classes,
)
from chargen.sampling.constraints.stops import Rule, StopTexts

MAX_NODES = 20_000  # of an automaton
CACHED_NODES = 50_000  # of the states in a cache: each may have thousands
MAX_LOOKUPS = 300_000_000  # characters times sets: a few seconds; 270 sets over all of Unicode
SET_FLAGS = re.IGNORECASE | re.ASCII | re.DOTALL  # that change what a set contains
TYPE_FLAGS = re.ASCII | re.UNICODE | re.LOCALE  # a group has one of them
CATEGORIES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}
REFUSED = {
    "ASSERT": "look-around",
    "ASSERT_NOT": "look-around",
    "FAILURE": "look-around",  # (?!)
    "GROUPREF": "a back-reference",
    "GROUPREF_EXISTS": "a condition on a group",
    "ATOMIC_GROUP": "an atomic group",
    "POSSESSIVE_REPEAT": "a possessive repeat",
    "AT_BOUNDARY": r"\b, which looks around",
    "AT_NON_BOUNDARY": r"\B, which looks around",
}
ALLOWED = "sets, groups, |, repeats, flags and anchors at both ends"

Set = tuple[str, int]  # of characters: a pattern for one of them, and its flags


def refuse(pattern: str, reason: str) -> ConfigError:
    """Return an error that names a pattern and what is wrong with it."""
    shown = pattern if len(pattern) <= 80 else pattern[:77] + "..."
    return ConfigError(f"regex is {shown!r}, which {reason}")


class Network:
    """Nondeterministic automaton of a pattern, built from its end to its beginning.

    Attributes:
        reads: index of the set that each node reads, or -1.
        targets: nodes after each node.
        sets: the distinct sets of characters.
        at_start, at_end: nodes of anchors, passed only at the start or the end of the text.
        accept: the accepting node.
        first: the first node.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.reads: list[int] = []
        self.targets: list[list[int]] = []
        self.sets: dict[Set, int] = {}
        self.at_start: set[int] = set()
        self.at_end: set[int] = set()
        tree = parse(pattern)
        self.accept = self._node([])
        try:
            self.first = self._sequence(tree, tree.state.flags, self.accept)
        except RecursionError:
            raise refuse(pattern, "is nested too deeply") from None

    def _node(self, targets: list[int], read: int = -1) -> int:
        if len(self.reads) >= MAX_NODES:
            raise refuse(
                self.pattern,
                f"needs more than {MAX_NODES:,} states; use smaller numbers in its repeats",
            )
        self.reads.append(read)
        self.targets.append(targets)
        return len(self.reads) - 1

    def _sequence(self, items: Any, flags: int, then: int) -> int:
        for operator, argument in reversed(list(items)):
            then = self._item(str(operator), argument, flags, then)
        return then

    def _item(self, operator: str, argument: Any, flags: int, then: int) -> int:
        """Return the first node of an item that continues at node ``then``."""
        if operator in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
            key = set_text(operator, argument), flags & SET_FLAGS
            return self._node([then], self.sets.setdefault(key, len(self.sets)))
        if operator == "BRANCH":
            return self._node([self._sequence(branch, flags, then) for branch in argument[1]])
        if operator == "SUBPATTERN":
            _, added, removed, inner = argument
            kept = flags & ~TYPE_FLAGS if added & TYPE_FLAGS else flags
            return self._sequence(inner, (kept | added) & ~removed, then)
        if operator in ("MAX_REPEAT", "MIN_REPEAT"):
            return self._repeat(argument, flags, then)
        if operator == "AT":
            return self._anchor(str(argument), flags, then)
        raise refuse(
            self.pattern, f"has {REFUSED.get(operator, operator.lower())}; allowed: {ALLOWED}"
        )

    def _repeat(self, repeat: Any, flags: int, then: int) -> int:
        """Expand a repeat; optional repetitions are nested, so that states have few nodes."""
        least, most, inner = repeat
        first = then
        if str(most) == "MAXREPEAT":
            first = self._node([])
            self.targets[first] += [self._sequence(inner, flags, first), then]
        copies = 0 if str(most) == "MAXREPEAT" else int(most) - least
        for optional, count in ((True, copies), (False, least)):
            for _ in range(count):
                begin = self._sequence(inner, flags, first)
                if begin == first:  # an empty item
                    break
                first = self._node([begin, then]) if optional else begin
        return first

    def _anchor(self, anchor: str, flags: int, then: int) -> int:
        if anchor in REFUSED:
            raise refuse(self.pattern, f"has {REFUSED[anchor]}; allowed: {ALLOWED}")
        if flags & re.MULTILINE and anchor in ("AT_BEGINNING", "AT_END"):
            raise refuse(self.pattern, r"anchors lines; write \n, or drop the flag m")
        node = self._node([then])
        (self.at_start if anchor.startswith("AT_BEGINNING") else self.at_end).add(node)
        return node

    def closure(self, nodes: Iterable[int], passed: set[int]) -> set[int]:
        """Return the nodes reached without reading a character, through some of the anchors."""
        seen = set(nodes)
        waiting = list(seen)
        shut = (self.at_start | self.at_end) - passed
        while waiting:
            node = waiting.pop()
            if self.reads[node] < 0 and node not in shut:
                new = [target for target in self.targets[node] if target not in seen]
                seen.update(new)
                waiting += new
        return seen

    def check_ends(self, newline: list[bool]) -> None:
        """Refuse an anchor of the end that something may follow, such as a last newline."""
        behind = self.closure({self.targets[node][0] for node in self.at_end}, self.at_end)
        if behind & self.at_start or any(
            self.reads[node] >= 0 and newline[self.reads[node]] for node in behind
        ):
            raise refuse(self.pattern, "has more after the anchor of its end; leave out the anchor")


def parse(pattern: str) -> Any:
    """Return the syntax tree of a pattern, parsed by ``re``."""
    parser = importlib.import_module("re._parser")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on syntax that future versions may change
            return parser.parse(pattern)
    except (re.error, OverflowError) as error:
        raise refuse(pattern, f"cannot be read: {error}; write it as for Python's re") from None
    except RecursionError:
        raise refuse(pattern, "is nested too deeply") from None


def set_text(operator: str, argument: Any) -> str:
    """Return a pattern for one character of a set in the tree."""
    if operator == "ANY":
        return "."
    if operator == "LITERAL":
        return _escaped(argument)
    if operator == "NOT_LITERAL":
        return f"[^{_escaped(argument)}]"
    return f"[{''.join(_member(str(name), value) for name, value in argument)}]"


def _member(name: str, value: Any) -> str:
    if name == "NEGATE":
        return "^"
    if name == "RANGE":
        return f"{_escaped(value[0])}-{_escaped(value[1])}"
    return _escaped(value) if name == "LITERAL" else CATEGORIES[str(value)]


def _escaped(code: int) -> str:
    return f"\\U{code:08x}"


def members(one: Set, alphabet: Alphabet) -> NDArray[np.int64]:
    """Return the indices in an alphabet of the characters of a set."""
    text, flags = one
    if text.startswith("\\U") and not flags & re.IGNORECASE:  # one character
        index = alphabet.find(chr(int(text[2:], 16)))
        return np.array([index] if index >= 0 else [], np.int64)
    runs = re.finditer(f"{text}+", alphabet.text, flags)
    parts = [np.arange(*run.span()) for run in runs]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def partition(sets: Iterable[Set], alphabet: Alphabet) -> NDArray[np.int64]:
    """Return classes (A,) of characters that are in the same sets."""
    classes = np.zeros(len(alphabet.codes), np.int64)
    single: set[int] = set()
    for one in sets:
        indices = members(one, alphabet)
        if len(indices) == 1:
            single.add(int(indices[0]))
        elif len(indices):
            classes *= 2
            classes[indices] += 1
            classes = number_classes(classes)
    own = np.arange(len(single)) + len(classes)  # a class each
    classes[np.array(sorted(single), np.int64)] = own
    return number_classes(classes)


def membership(sets: list[Set], automaton: Automaton) -> NDArray[np.bool_]:
    """Return which sets contain which classes (sets, K)."""
    order = np.argsort(automaton.examples, kind="stable")  # an alphabet is sorted
    examples = Alphabet(automaton.alphabet.codes[automaton.examples[order]])
    contains = np.zeros((len(sets), len(order)), np.bool_)
    for number, one in enumerate(sets):
        contains[number, order[members(one, examples)]] = True
    return contains


class Pattern(Rule):
    """Texts without a stop text that match a regular expression as a whole.

    A state is the frozen set of the nodes that may read next, and of the accepting one.

    Raises:
        ConfigError: the pattern is not valid, not regular or too large, or no such text of the
            alphabet matches it.
    """

    def __init__(self, pattern: str, alphabet: Alphabet, stops: StopTexts) -> None:
        self._net = Network(pattern)
        sets = list(self._net.sets)
        if len(sets) * len(alphabet.codes) > MAX_LOOKUPS:
            raise refuse(pattern, f"has {len(sets):,} different sets of characters; use fewer")
        super().__init__(alphabet, partition(sets, alphabet))
        self._contains = membership(sets, self)  # (sets, K)
        self._net.check_ends([_contains_newline(one) for one in sets])
        self._filled = [bool(row.any()) for row in self._contains]
        self._clear = self._node_distances(stops)  # (nodes, P)
        self._distances = self._clear[:, 0].tolist()
        self._steps: dict[tuple[State, int], State] = {}
        if self.distance(self.start()) >= NEVER:
            raise refuse(pattern, self._why_nothing(stops))

    def start(self, before: str = "") -> State:
        """Return the state before the first character."""
        return self._state({self._net.first}, self._net.at_start)

    def step(self, state: State, kind: int) -> State:
        """Return the state after a character of a class; None if no text continues so."""
        key = state, kind
        if key not in self._steps:
            if len(self._steps) > 10 * self.cached:
                self._steps.clear()
            reads, targets = self._net.reads, self._net.targets
            read = [
                node for node in state if reads[node] >= 0 and self._contains[reads[node], kind]
            ]
            after = {targets[node][0] for node in read}
            found = self._steps[key] = self._state(after, set()) if after else None
            self.cached = min(self.cached, CACHED_NODES // max(1, len(found or ())))
        return self._steps[key]

    def distance(self, state: State) -> int:
        """Return the fewest characters to a match."""
        return min((self._distances[node] for node in state), default=NEVER)

    def clear(self, state: State, place: int) -> int:
        """Return the fewest characters to a match that complete no stop text."""
        return int(self._clear[list(state), place].min(initial=NEVER))

    def _compute_required(self, state: State) -> Counts:
        nearest: dict[int, int] = {}  # distance through each set that may be read next
        for node in state:
            read = self._net.reads[node]
            if read >= 0:
                distance = 1 + self._distances[self._net.targets[node][0]]
                nearest[read] = min(distance, nearest.get(read, NEVER))
        required = np.full(len(self.examples), NEVER, np.int32)
        for read, distance in nearest.items():
            np.minimum(required, distance, out=required, where=self._contains[read])
        return required

    def _state(self, nodes: set[int], passed: set[int]) -> State:
        """Return the reading nodes, and the accepting one, reached without reading."""
        reached = self._net.closure(nodes, passed)
        reading = {node for node in reached if self._goes_on(node)}
        ends = any(self._distances[node] == 0 for node in reached)
        return frozenset(reading | {self._net.accept} if ends else reading)

    def _goes_on(self, node: int) -> bool:
        """Tell whether a node reads a character, be it the last of a stop text, and may go on."""
        read, targets = self._net.reads[node], self._net.targets[node]
        return read >= 0 and self._filled[read] and self._distances[targets[0]] < NEVER

    def _node_distances(self, stops: StopTexts) -> Counts:
        """Return the fewest characters from each node to a match, at each place of stop texts.

        The search begins at the end. No way completes a stop text.
        """
        net, places = self._net, len(stops.begun)
        distances = np.full((len(net.reads), places + 1), NEVER, np.int32)  # P: a stop text
        after = [stops.after[:, columns] for columns in self._columns_of_sets(stops)]
        sources: list[list[int]] = [[] for _ in net.reads]
        for node, targets in enumerate(net.targets):
            for target in targets:
                sources[target].append(node)
        waiting = deque(self._ends(sources))
        distances[list(waiting), :places] = 0
        while waiting:
            node = waiting.popleft()
            for source in sources[node]:
                read = net.reads[source]
                if read >= 0:
                    found = 1 + distances[node][after[read]].min(axis=1, initial=NEVER)  # (P,)
                elif source in net.at_start or source in net.at_end:
                    continue
                else:
                    found = distances[node, :places]
                if (found < distances[source, :places]).any():
                    np.minimum(distances[source, :places], found, out=distances[source, :places])
                    (waiting.append if read >= 0 else waiting.appendleft)(source)
        return distances[:, :places]

    def _columns_of_sets(self, stops: StopTexts) -> list[NDArray[np.intp]]:
        """Return the columns of the stop texts in which each set has characters."""
        has = np.zeros((len(self.examples), stops.after.shape[1]), np.bool_)
        has[self.classes, stops.columns] = True
        return [np.flatnonzero(has[row].any(axis=0)) for row in self._contains]

    def _ends(self, sources: list[list[int]]) -> set[int]:
        """Return the nodes from which acceptance is reached without reading."""
        net, seen, waiting = self._net, {self._net.accept}, [self._net.accept]
        while waiting:
            for source in sources[waiting.pop()]:
                if net.reads[source] < 0 and source not in net.at_start and source not in seen:
                    seen.add(source)
                    waiting.append(source)
        return seen

    def _why_nothing(self, stops: StopTexts) -> str:
        """Tell why no text matches."""
        if stops.texts:
            self._distances = self._node_distances(StopTexts((), self.alphabet))[:, 0].tolist()
            if self.distance(self.start()) < NEVER:
                return f"matches no text without a stop text ({_named(stops.texts)}); change one"
        sets = zip(self._net.sets, self._filled, strict=True)
        lacking = {
            chr(int(text[2:], 16)) for (text, _), has in sets if text[:2] == "\\U" and not has
        }
        banned = lacking.intersection(self.alphabet.banned)
        reasons = []
        if lacking - banned:
            named = _named(lacking - banned)
            reasons = [f"needs characters outside the model's vocabulary: {named}"]
        if banned:
            reasons.append(f"needs banned characters: {_named(banned)}")
        left = " that are not banned" if self.alphabet.banned else ""
        return ", and ".join(reasons) or f"matches no text of the model's characters{left}"


def _named(texts: Collection[str]) -> str:
    """Return at most ten texts as they are named in an error."""
    names = [repr(text) for text in sorted(texts)]
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more


def _contains_newline(one: Set) -> bool:
    return re.fullmatch(one[0], "\n", one[1]) is not None
