"""Make the comments of a dataclass's fields their descriptions: an extension of Griffe, which reads the package's code.

The schema of the configuration explains each field in a comment, at the end of its line or on the lines above it. The
reference shows docstrings only. This extension shows such comments, too.
"""

import ast

import griffe

MARK = "#"


class FieldComments(griffe.Extension):  # type: ignore[misc]  # Griffe is not installed where types are checked
    """Give every attribute of a class that has no docstring the comment in the code as its docstring."""

    def on_attribute_instance(self, *, node: ast.AST, attr: griffe.Attribute, **_: object) -> None:
        """Look for the comment of one attribute."""
        if attr.docstring or not attr.parent.is_class or not attr.lineno or not attr.endlineno:
            return
        lines = attr.lines_collection[attr.filepath]
        above = attr.lineno - 1
        while lines[above - 1].lstrip().startswith(MARK):
            above -= 1
        words = [lines[number].strip().removeprefix(MARK).strip() for number in range(above, attr.lineno - 1)]
        _, found, behind = lines[attr.endlineno - 1].rpartition(f"  {MARK} ")
        if found:
            words.append(behind)
        if words:
            attr.docstring = griffe.Docstring(" ".join(words), lineno=attr.lineno, parent=attr)
