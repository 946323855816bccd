"""What a command line means by a format: a name, or one of a user's own."""

from __future__ import annotations

import inspect
from typing import Any, TypeGuard, get_args

from numerics import BlockFormat, parse_format
from numerics.formats import Format
from numerics.formats.naming import named

from .named import found
from .tables import element_name

#: Every family of formats.
FORMATS: tuple[type, ...] = get_args(Format)


def format_named(text: str) -> Format:
    """The format of a name that `numerics.parse_format` knows, or that module:name is, or returns without arguments.

    Errors: as `parse_format` and `found`; TypeError for what is no format.
    """
    if ":" not in text:
        return parse_format(text)
    made = found_or_made(text)
    if not is_format(made):
        kinds = ", ".join(kind.__name__ for kind in FORMATS)
        raise TypeError(
            f"{text!r} is {named(made)}: give module:name of a format ({kinds}), or of a function without arguments"
            " that returns one"
        )
    return made


def is_format(value: object) -> TypeGuard[Format]:
    """Whether it is a format of any family."""
    return isinstance(value, FORMATS)


def found_or_made(target: str) -> Any:
    """What module:name is; of a function without arguments, what it returns.

    Errors: as `found`; ValueError where the function raises one of any kind.
    """
    made = found(target)
    if not inspect.isfunction(made) or inspect.signature(made).parameters:
        return made
    try:
        return made()
    except (Exception, SystemExit) as error:  # the function's own, whatever it is; sys.exit(0) would pass for done
        if isinstance(error, SystemExit) and type(error) is not SystemExit:  # of a closed pipe, say
            raise
        raise ValueError(f"{target} raised {type(error).__name__}: {error}") from error


def parts_of(text: str, fmt: BlockFormat) -> str:
    """The commands that tabulate the element and the scale of a block format that was called by this text."""
    if ":" not in text:
        return f"emul table {element_name(fmt)}, emul table {fmt.scale}"
    if isinstance(found(text), BlockFormat):
        return f"emul table {text}.element, emul table {text}.scale"
    return "give them names of their own, as module:name"
