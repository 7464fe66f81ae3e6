"""Who may import whom: `experiment` nobody, `worldmodel` and `envs` it, `policies` all; no circles.

Imports are read, not run. The rule counts every import; circles count those at the top of a module,
because one inside a function runs when both modules are there.
"""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from experiment.settings import ROOT

MAY_IMPORT = {
    "experiment": set(),
    "worldmodel": {"experiment"},
    "envs": {"experiment"},
    "policies": {"experiment", "worldmodel", "envs"},
}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    module_name(path): path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")
}


def imported(path: Path, everywhere: bool) -> Iterator[str]:
    """Yield our modules that `path` imports: by name, or the module that a name comes from."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if everywhere else at_the_top(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports are not read here"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            while name and name not in MODULES:
                name = name.rpartition(".")[0]
            if name:
                yield name


def at_the_top(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs when a module is imported: all but functions and types for checkers."""
    for child in ast.iter_child_nodes(node):
        lazy = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if lazy or (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            continue
        yield child
        yield from at_the_top(child)


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    for name, path in MODULES.items():
        if name.partition(".")[0] == package:
            packages = {other.partition(".")[0] for other in imported(path, everywhere=True)}
            assert packages <= MAY_IMPORT[package] | {package}, name


def test_no_circles_between_modules() -> None:
    graph = {name: set(imported(path, everywhere=False)) for name, path in MODULES.items()}
    assert len(graph["policies.eval"]) > 3  # the imports are really read
    assert circle(graph) == []


def test_a_circle_would_be_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert circle({"a": {"b"}, "b": {"c"}}) == []
