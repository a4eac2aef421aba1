"""One kind of input: small examples of it, what it is asked, and how a file of it is spoiled."""

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fuzzing.files import spoiled

from medvision.errors import MedvisionError

Tree = dict[str, bytes]  # name below a folder → content


@dataclass(frozen=True)
class Target:
    """One kind of input.

    Parameters
    ----------
    trees : callable
        From a folder to work in to small inputs, each a tree of files.
    asks : tuple of callable
        Each is given the folder with the files, and ends in a value or a `MedvisionError`.
    share : int
        How many of a hundred mutations of its suite are of this kind.
    """

    trees: Callable[[Path], list[Tree]]
    asks: tuple[Callable[[Path], object], ...]
    share: int


class Suite:
    """The inputs of some targets, to be spoiled one after another.

    Parameters
    ----------
    targets : dict of str to Target
    folder : Path
        To work in.
    """

    def __init__(self, targets, folder):
        self.targets = targets
        self.trees = {name: one.trees(folder / name) for name, one in targets.items()}

    def mutated(self, seed, number):
        """Return the name of a target, an input of it with one file changed, and that file's name.

        They depend on the seed, the number and the targets alone.
        """
        rng = random.Random(f"{seed} {number}")
        [name] = rng.choices(list(self.targets), [one.share for one in self.targets.values()])
        return name, *changed(rng, self.trees[name])


def changed(rng, trees):
    """Return one input with one of its files changed, and the name of that file."""
    tree = dict(rng.choice(trees))
    other = rng.choice(list(rng.choice(trees).values()))
    chosen = rng.choice(sorted(tree))
    if rng.random() < 0.02:
        del tree[chosen]
        return tree or {"empty": b""}, chosen
    tree[chosen] = spoiled(rng, chosen, tree[chosen], other)
    return tree, chosen


def write_tree(folder, tree):
    """Write the files of a tree."""
    for name, data in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def files_in(folder):
    """Return the files of a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def each(ask):
    """Go on after an error that is one of ours."""
    with suppress(MedvisionError):
        ask()
