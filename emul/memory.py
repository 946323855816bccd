"""What an emulated layer keeps from call to call, and what one call makes of it; torch is not needed.

A call is a forward product of a layer and the backward ones that follow from it. It draws the words of its step and
scales by numbers of the calls before it; both are settled when the call first needs them and stay, so that a second
backward pass, or a forward that gradient checkpointing runs again, gives the same bits.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

from .operands import Stage

#: Calls in training of which a layer knows that they may be run again; older ones are forgotten. It is not known when a
#: checkpoint is no longer to come, nor whether a call without a graph was in one: without an end they would pile up.
REMEMBERED = 4096

#: Where the numbers of a stage are kept: part of the layer, product, role and place of the stage.
Slot = str


def slot(product: str, role: str, place: int) -> Slot:
    """The name of what the stage at this place of an operand remembers."""
    return f"{product}_{role}" + (f"_{place}" if place else "")


@dataclass
class Call:
    """One call of a layer: the numbers in use, and the layer's own, which it leaves changed while it observes.

    part: which of a layer's products, where it has more than three; "" where it has not.
    """

    kept: dict[Slot, tuple[float, ...]]
    observes: bool = True
    part: str = ""
    used: dict[Slot, float] = field(default_factory=dict)
    after: dict[Slot, tuple[float, ...]] = field(default_factory=dict)

    def settle(self, slot: Slot, stage: Stage, x: NDArray[Any]) -> float:
        """The number that the stage uses on x: in a slot that is settled already, the one it used before."""
        slot = f"{self.part}_{slot}" if self.part else slot
        if slot not in self.used:
            past = self.kept.get(slot, ())
            self.used[slot] = stage.used(past, x)
            if self.observes:
                self.after[slot] = stage.after(past, x)
        return self.used[slot]

    def commit(self) -> None:
        """Leave what was observed to the next call."""
        self.kept.update(self.after)
        self.after.clear()


@dataclass(frozen=True)
class Done:
    """A forward that may be run again: its key, its step, the numbers that it used, and those of the checkpoints around it."""

    key: bytes
    step: int
    used: dict[Slot, float]
    regions: tuple[int, ...] = ()


@dataclass
class Journal:
    """The latest forwards that may be run again, each for one recomputation.

    In a checkpoint that is known the forwards of one key are made again in their order. Of others the newest of equal keys
    is first: that is the order in which a backward pass goes from checkpoint to checkpoint. A second backward pass through
    one runs its forwards once more: then those that are spent are found. Between a forward and its recomputation a layer
    may have `REMEMBERED` others, so one checkpoint may hold as many calls of it: of one that had more none is found, as
    those that are left would be taken for one another.
    """

    open: deque[Done] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    spent: deque[Done] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    #: Checkpoints of which a forward is forgotten, the latest of them.
    cut: dict[int, None] = field(default_factory=dict)
    #: The recomputation that is going on, (checkpoint, backward pass), and how many forwards of each key it has made.
    again: tuple[int, int] = (0, 0)
    made: dict[bytes, int] = field(default_factory=dict)

    def note(self, done: Done) -> None:
        """A forward has run."""
        self._put(self.open, done)

    def find(self, key: bytes, region: int = 0, task: int = 0, inside: tuple[int, ...] = ()) -> Done | None:
        """The forward that is running again, None if there is none of this key.

        region: the checkpoint that runs again, 0 where it is not known. task: the number of the backward pass. inside:
        checkpoints that run for the first time in it, and will run again.
        """
        if region in self.cut:
            return None
        found = self._in_order(key, region, task) if region else None
        found = found or _newest(self.open, key) or _newest(self.spent, key)
        if found is None:
            return None
        if found in self.open:
            self.open.remove(found)
            self._put(self.spent, found)
        if new := tuple(number for number in inside if number not in found.regions):
            self.spent.remove(found)
            found = replace(found, regions=found.regions + new)
            self.spent.append(found)
        return found

    def clear(self) -> None:
        """Forget all."""
        self.open.clear()
        self.spent.clear()
        self.cut.clear()
        self.made.clear()

    def _put(self, entries: deque[Done], done: Done) -> None:
        if len(entries) == entries.maxlen:
            self.cut.update(dict.fromkeys(entries[0].regions))
            while len(self.cut) > REMEMBERED:
                del self.cut[next(iter(self.cut))]
        entries.append(done)

    def _in_order(self, key: bytes, region: int, task: int) -> Done | None:
        if self.again != (region, task):
            self.again, self.made = (region, task), {}
        place = self.made.get(key, 0)
        self.made[key] = place + 1
        same = [done for done in (*self.open, *self.spent) if region in done.regions and done.key == key]
        same.sort(key=lambda done: done.step)
        return same[place] if place < len(same) else None


def _newest(entries: Iterable[Done], key: bytes) -> Done | None:
    return next((entry for entry in reversed(list(entries)) if entry.key == key), None)
