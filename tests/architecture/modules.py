"""Python sources as the rules see them: what a file imports, in full, and what a name in it means."""

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Import:
    """One imported name in full: `from .a import b` in kernels/c.py is numerics.kernels.a.b."""

    line: int
    name: str
    relative: bool
    typing: bool = False

    @property
    def root(self) -> str:
        return self.name.partition(".")[0]

    def reaches(self, package: str) -> bool:
        return f"{self.name}.".startswith(f"{package}.")


class Module:
    """A source file: `path` is relative to the repository's root; imports under TYPE_CHECKING are marked as typing."""

    def __init__(self, path: str | PurePosixPath, source: str) -> None:
        self.path = PurePosixPath(path)
        self.source = source
        self.layer = self.path.parts[0] if len(self.path.parts) > 1 else ""
        tree = ast.parse(source, str(path))
        self.nodes = list(ast.walk(tree))
        self._typing = {
            inner
            for node in self.nodes
            if isinstance(node, ast.If) and last_name(node.test) == "TYPE_CHECKING"
            for statement in node.body
            for inner in ast.walk(statement)
        }
        self.imports = list(self._imports())
        self.meanings = dict(self._meanings())
        self.functions = {
            inner: node.name
            for node in self.nodes  # outer functions come first
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for inner in ast.walk(node)
        }

    def __str__(self) -> str:
        return str(self.path)

    def inside(self, *folders: str) -> bool:
        return any(self.path.is_relative_to(folder) for folder in folders)

    def meaning(self, node: ast.expr) -> str:
        """`np.random.rand` as numpy.random.rand; empty where an expression is no chain of names from an import."""
        if isinstance(node, ast.Attribute):
            owner = self.meaning(node.value)
            return f"{owner}.{node.attr}" if owner else ""
        return self.meanings.get(node.id, "") if isinstance(node, ast.Name) else ""

    def _full(self, name: str, level: int) -> str:
        if level == 0:
            return name
        package = self.path.parent.parts
        if package[:1] == ("kernels",):
            package = ("numerics", *package)
        return ".".join((*package[: len(package) - level + 1], *name.split("."))).strip(".")

    def _imports(self) -> Iterator[Import]:
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(node.lineno, alias.name, False, node in self._typing)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    name = f"{node.module}.{alias.name}" if node.module else alias.name
                    yield Import(node.lineno, self._full(name, node.level), node.level > 0, node in self._typing)
            elif isinstance(node, ast.Call) and last_name(node.func) in ("import_module", "__import__"):
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    name = first.value.lstrip(".")
                    level = len(first.value) - len(name)
                    yield Import(node.lineno, self._full(name, level), level > 0)
                else:
                    yield Import(node.lineno, "(computed)", False)

    def _meanings(self) -> Iterator[tuple[str, str]]:
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    root = alias.name.partition(".")[0]
                    yield (alias.asname, alias.name) if alias.asname else (root, root)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    name = f"{node.module}.{alias.name}" if node.module else alias.name
                    yield alias.asname or alias.name, self._full(name, node.level)


def last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def sources() -> Iterator[Path]:
    """Every Python file of the repository, once: no environments, build products or links."""
    for folder, folders, files in os.walk(ROOT):
        here = Path(folder)
        folders[:] = [
            name
            for name in folders
            if not name.startswith((".", "__pycache__"))
            and not (here == ROOT and name in ("build", "dist", "runs"))
            and not name.endswith(".egg-info")
            and not (here / name / "pyvenv.cfg").exists()
        ]
        yield from (here / name for name in sorted(files) if name.endswith(".py"))
