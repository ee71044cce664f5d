"""Prints how large files and functions are, beside what the design likes (median/p90: files 150/500, functions 10/30)."""

import ast
import statistics
import subprocess
from pathlib import Path


def main() -> None:
    """Reads every Python file that git tracks, generated ones excepted."""
    listed = subprocess.run(["git", "ls-files", "*.py"], capture_output=True, text=True, check=True).stdout.split()
    paths = [Path(name) for name in listed if "headrace/api/" not in name and Path(name).exists()]
    files = {path: path.read_text("utf-8").count("\n") for path in paths}
    functions = [
        (node.end_lineno - node.lineno + 1, f"{path}:{node.lineno} {node.name}")
        for path in paths
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    ]
    print(f"files      {_spread([lines for lines in files.values() if lines > 2])}  (liked: 150 / 500)")
    print(f"functions  {_spread([lines for lines, _ in functions])}  (liked: 10 / 30)")
    for lines, where in sorted(functions, reverse=True):
        if lines > 60:
            print(f"  {lines:4} lines  {where}")
    for path, lines in files.items():
        if lines > 500:
            print(f"  {lines:4} lines  {path}")


def _spread(sizes: list[int]) -> str:
    tenths = statistics.quantiles(sizes, n=10)
    return f"{len(sizes):5}   median {statistics.median(sizes):5.0f}   p90 {tenths[8]:5.0f}"


if __name__ == "__main__":
    main()
