"""What a command line names: objects of a user's own as module:name, and the data that go with a model."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any


def found(target: str) -> Any:
    """The object that module:name names; modules of the working directory too.

    Errors: ImportError for a module that cannot be imported, ValueError for a name that it does not have.
    """
    module, _, name = target.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        result: Any = importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{module} cannot be imported from {here}: {error}") from None
    for part in name.split("."):
        if not hasattr(result, part):
            raise ValueError(f"{module} has no {name!r}; give module:name of a function")
        result = getattr(result, part)
    return result


def usual_data(model: object) -> str:
    """The name of the data that a model is trained on where nothing is said."""
    return "text" if model == "gpt" else "digits"
