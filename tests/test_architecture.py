"""The house: who may import whom, what may stand where. Read from the source, not from running it."""

import ast
import functools
import importlib.metadata
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from jobs.core.stages import STAGES

REPOSITORY = Path(__file__).resolve().parents[1]
ROOMS = ("corpus", "retrieval", "tuning", "serving")  # upstream first
HEAVY = {
    *("torch", "pyspark", "pymupdf", "fitz", "pyarrow", "pandas", "transformers", "numpy", "matplotlib"),
    *("faiss", "gradio", "sentence_transformers", "peft", "trl", "bitsandbytes", "bm25s", "datasets"),
}
ONLY_IN_A_CHILD = "only in a child"  # in the docstring of a file that no stage imports
LONGEST_FUNCTION = 60
FILES = sorted([*REPOSITORY.glob("jobs/**/*.py"), *REPOSITORY.glob("plugins/**/*.py")])
VERBS = {stage.module for stage in STAGES.values()}


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)


def room_of(module: str) -> str:
    """corpus of jobs.corpus.chunker; core, submit and the package itself stand for themselves."""
    parts = module.split(".")
    return parts[1] if parts[0] == "jobs" and len(parts) > 2 else ""


def imports(nodes: Iterator[ast.AST], path: Path) -> Iterator[str]:
    """Dotted names of the imported modules; `from jobs.core import lake` gives jobs.core.lake too."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_at_start(path: Path) -> set[str]:
    """What is imported when the file is, without what only type checkers read."""
    waiting: list[ast.AST] = [*tree_of(path).body]
    found: list[ast.AST] = []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'"):
            waiting += node.orelse
            continue
        found.append(node)
        waiting += ast.iter_child_nodes(node)
    return set(imports(iter(found), path))


@functools.cache
def all_imports(path: Path) -> set[str]:
    return set(imports(ast.walk(tree_of(path)), path))


def top_names(modules: set[str]) -> set[str]:
    return {name.split(".")[0] for name in modules}


def functions(path: Path) -> list[tuple[str, int]]:
    """Name and number of lines of every function, also of those inside others."""
    nodes = (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return [(node.name, (node.end_lineno or 0) - node.lineno + 1) for node in nodes]


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call))


def foreign_rooms(path: Path) -> set[str]:
    """Rooms that a file imports and that do not lie upstream of its own."""
    own = room_of(module_of(path))
    upstream = ROOMS[: ROOMS.index(own) + 1] if own in ROOMS else ()
    return {room_of(name) for name in all_imports(path)} & set(ROOMS) - set(upstream)


def found_in(look: Callable[[Path], object], files: list[Path] = FILES) -> dict[str, object]:
    """What a look at every file found, by file; empty where the rule holds."""
    assert files
    return {path.relative_to(REPOSITORY).as_posix(): found for path in files if (found := look(path))}


def lines_of_calls(path: Path, *names: str) -> list[int]:
    return [call.lineno for call in calls(path) if ast.unparse(call.func) in names]


def test_imports_flow_upstream() -> None:
    assert found_in(foreign_rooms) == {}


def test_no_file_imports_a_verb() -> None:
    assert found_in(lambda path: all_imports(path) & VERBS) == {}


def test_no_file_is_called_like_a_module_of_python_or_a_dependency() -> None:
    """Launched by path, a script's folder comes first on sys.path: our file would be imported in its place."""
    taken = sys.stdlib_module_names | set(importlib.metadata.packages_distributions())
    assert found_in(lambda path: {path.stem} & taken - {"__init__", "__main__"}) == {}


def test_serving_never_imports_pymupdf() -> None:
    serving = [path for path in FILES if room_of(module_of(path)) == "serving"]
    assert {path.name for path in serving if top_names(all_imports(path)) & {"pymupdf", "fitz"}} == set()


def test_heavy_modules_are_imported_inside_functions() -> None:
    files = [path for path in FILES if ONLY_IN_A_CHILD not in (ast.get_docstring(tree_of(path)) or "")]
    assert found_in(lambda path: top_names(imports_at_start(path)) & HEAVY, files) == {}


def test_nothing_is_unpickled() -> None:
    unsafe = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    assert found_in(lambda path: top_names(all_imports(path)) & unsafe) == {}


def test_no_process_goes_through_a_shell() -> None:
    assert found_in(lambda path: lines_of_calls(path, "os.system", "os.popen", "subprocess.getoutput")) == {}
    assert (
        found_in(lambda path: [call.lineno for call in calls(path) for word in call.keywords if word.arg == "shell"])
        == {}
    )


def test_nothing_is_printed() -> None:
    assert found_in(lambda path: lines_of_calls(path, "print", "pprint.pprint")) == {}


def test_functions_fit_on_a_screen() -> None:
    assert found_in(lambda path: [name for name, n_lines in functions(path) if n_lines > LONGEST_FUNCTION]) == {}


def test_half_of_the_functions_are_short() -> None:
    assert statistics.median(n_lines for path in FILES for _, n_lines in functions(path)) <= 15


def test_every_module_says_what_it_is_for() -> None:
    assert found_in(lambda path: not ast.get_docstring(tree_of(path))) == {}


def test_only_durable_renames_and_syncs() -> None:
    """fsync, rename and flock stand in one file, where they are tested by killing."""
    durable = {"fsync", "rename", "renames", "flock", "lockf"}
    files = [path for path in FILES if module_of(path) != "jobs.core.durable"]
    assert found_in(lambda path: {ast.unparse(call.func).split(".")[-1] for call in calls(path)} & durable, files) == {}


def test_rules_would_notice(tmp_path: Path) -> None:
    """A look that finds nothing in a file which breaks every rule would be no rule."""
    path = tmp_path / "bad.py"
    path.write_text("import numpy.linalg as la\nfrom jobs.corpus import filter_papers\nprint(open('x', shell=True))\n")
    assert top_names(imports_at_start(path)) & HEAVY == {"numpy"}
    assert all_imports(path) & VERBS == {"jobs.corpus.filter_papers"}
    assert lines_of_calls(path, "print") == [3]
