"""Joins the dashboard's modules into one script, so that a page loads one file instead of a dozen.

Each module becomes a function that returns its exports, written once and before the modules that import it. Only the
syntax that our modules use is supported: one-line named imports from `./x.js`, and `export` before a function, class or
const.
"""

import re
from pathlib import Path

_IMPORT = re.compile(r'^import \{ ([\w, ]+) \} from "\./([\w]+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?function|class|const) (\w+)", re.MULTILINE)
_LEFT_OVER = re.compile(r"^\s*(import|export)\b.*$", re.MULTILINE)


def bundle(entry: Path) -> str:
    """Raises ValueError for a module that uses any other syntax."""
    order: list[Path] = []
    _visit(entry, order, ())
    return "\n".join(_wrapped(module) for module in order)


def _visit(module: Path, order: list[Path], importers: tuple[Path, ...]) -> None:
    if module in importers:
        raise ValueError(f"{module.name} imports itself, by way of {', '.join(each.name for each in importers)}")
    if module in order:
        return
    for _, name in _IMPORT.findall(module.read_text()):
        _visit(module.with_name(f"{name}.js"), order, (*importers, module))
    order.append(module)


def _wrapped(module: Path) -> str:
    text = module.read_text()
    names = [name for _, name in _EXPORT.findall(text)]
    text = _IMPORT.sub(r"const { \1 } = module_\2;", text)
    text = _EXPORT.sub(r"\1 \2", text)
    if odd := _LEFT_OVER.search(text):
        raise ValueError(f"{module.name}: {odd[0].strip()}")
    return f"const module_{module.stem} = (() => {{\n{text}return {{ {', '.join(names)} }};\n}})();"
