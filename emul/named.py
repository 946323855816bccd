"""What a command line names: objects of a user's own as module:name, and the data that go with a model."""

from __future__ import annotations

import difflib
import importlib
import sys
from pathlib import Path
from typing import Any


def found(target: str) -> Any:
    """The object that module:name names; modules of the working directory too.

    Errors: ImportError for a module that cannot be imported; ValueError for a name that it does not have, with the
    nearest, and for what is not of this form.
    """
    module, _, name = target.partition(":")
    if not module or not name or module.endswith(".py"):
        wanted = f"{module.removesuffix('.py') or 'mine'}:{name or 'NAME'}"
        raise ValueError(f"{target!r} is not module:name; write {wanted}, for NAME in a file such as mine.py")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        result: Any = importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{module} cannot be imported from {here}: {error}") from None
    except (Exception, SystemExit) as error:  # the module's own, whatever it is; sys.exit(0) would pass for done
        if isinstance(error, SystemExit) and type(error) is not SystemExit:  # of a closed pipe, say
            raise
        raise ImportError(f"{module} cannot be imported from {here}: {type(error).__name__}: {error}") from error
    for part in name.split("."):
        if not hasattr(result, part):
            near = difflib.get_close_matches(part, [one for one in dir(result) if not one.startswith("_")], n=3)
            told = f": the nearest {'is' if len(near) == 1 else 'are'} {', '.join(near)}" if near else ""
            raise ValueError(f"{module} has no {part!r}{told}; give module:name of what it has")
        result = getattr(result, part)
    return result


def usual_data(model: object) -> str:
    """The name of the data that a model is trained on where nothing is said."""
    return "text" if model == "gpt" else "digits"
