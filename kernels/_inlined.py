"""How functions are compiled that nothing but compiled code calls: as far as LLVM's language, never to machine code.

Numba optimises every function and makes machine code of it, and of two wrappers, before it compiles a caller, where all of
it is inlined and optimised again: half of the time that a loop takes to compile, for code that never runs. Here an entry
point links the functions below it as they were lowered, each once, and is optimised as a whole.

The only classes of this folder: numba's compiler is extended by subclasses. Nothing outside sees their types.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from numba import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder, Flags, _LowerResult
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.lowering import Lower
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import InlineOverloads, NativeLowering, NopythonRewrites
from numba.core.untyped_passes import InlineClosureLikes, InlineInlinables, WithLifting

_UNCOUNTED = types.Number, types.Boolean
_PYTHON_WRAPPER = "_ZN7cpython"  # how numba's name of one begins


class Linked(JITCodeLibrary):
    """A library that knows all of ours below it, each after all that call it.

    The order is what LLVM's linker asks for: of a library it takes what was called so far, and drops the rest.
    """

    def _optimize_functions(self, ll_module: Any) -> None:
        # As numba's, but not for what a module only declares: to set up the passes takes a millisecond each time.
        ll_module.data_layout = self._codegen._data_layout
        for function in ll_module.functions:
            if not function.is_declaration:
                passes, builder = self._codegen._function_pass_manager()
                passes.run(function, builder)

    def __init__(self, codegen: Any, name: str) -> None:
        super().__init__(codegen, name)
        self._linking_libraries: dict[Any, None] = {}

    def add_linking_library(self, library: Any) -> None:
        for one in (library, *library._linking_libraries) if isinstance(library, Lowered) else (library,):
            self._linking_libraries.pop(one, None)
            self._linking_libraries[one] = None

    def _link(self, module: Any) -> None:
        for library in self._linking_libraries:
            own = library.own() if isinstance(library, Lowered) else library._get_module_for_linking()
            module.link_in(own, preserve=True)


class Lowered(Linked):
    """The code of one function, as it was lowered."""

    _whole: Any = None

    def finalize(self) -> None:
        self._raise_if_finalized()
        self._finalized = True

    def own(self) -> Any:
        """The function without what it calls."""
        return super()._get_module_for_linking()

    def _get_module_for_linking(self) -> Any:
        """With what it calls, for a caller that numba itself compiles."""
        if self._whole is None:
            whole = self.own().clone()
            self._link(whole)
            self._whole = whole
        return self._whole


class Whole(Linked):
    """An entry point and all below it."""

    def _optimize_functions(self, ll_module: Any) -> None:
        # What takes Python's arguments apart is as quick without: it runs once a call, and takes long to optimise.
        for function in ll_module.functions:
            if not function.is_declaration and function.name.startswith(_PYTHON_WRAPPER):
                function.add_function_attribute("optnone")
                function.add_function_attribute("noinline")
        super()._optimize_functions(ll_module)

    def finalize(self) -> None:
        self._link(self._final_module)
        self._linking_libraries.clear()
        super().finalize()

    def _verify_declare_only_symbols(self) -> None:
        for function in self._final_module.functions:
            if function.is_declaration and function.name.startswith("_ZN"):
                raise AssertionError(f"{function.name} was not linked")


class Lowering(Lower):
    """Numba's, but it takes of an array only what counts the references to it, not each field to look for more."""

    def incref(self, typ: Any, val: Any) -> None:
        for kind, counter in self._counted(typ, val):
            super().incref(kind, counter)

    def decref(self, typ: Any, val: Any) -> None:
        for kind, counter in self._counted(typ, val):
            super().decref(kind, counter)

    def _counted(self, typ: Any, value: Any) -> Iterator[tuple[Any, Any]]:
        if isinstance(typ, types.Array):
            place = self.context.data_model_manager[typ].get_field_position("meminfo")
            yield types.MemInfoPointer(typ.dtype), self.builder.extract_value(value, place)
        elif isinstance(typ, types.BaseTuple):
            for i, member in enumerate(typ):
                if not isinstance(member, _UNCOUNTED):
                    yield from self._counted(member, self.builder.extract_value(value, i))
        elif not isinstance(typ, _UNCOUNTED):
            yield typ, value


class _NativeLowering(NativeLowering):
    lowering_class = Lowering


@register_pass(mutates_CFG=True, analysis_only=False)
class LoweringToInline(_NativeLowering):
    """Numba's lowering, into a library that is only linked, and without wrappers."""

    _name = "lowering_to_inline"

    def run_pass(self, state: Any) -> bool:
        flags, context = state.flags, state.targetctx
        flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
        library = state.library = Lowered(context.codegen(), state.func_id.func_qualname)
        super().run_pass(state)
        library.finalize()
        fndesc, call_helper, _, env = state["cr"]
        # Numba finds a function by its entry, which it wants to be a builtin. This one is like no other and is not called.
        entry = [fndesc.qualname].copy
        context.insert_user_function(entry, fndesc, [library])
        state["cr"] = _LowerResult(fndesc, call_helper, cfunc=entry, env=env)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class LoweringToCall(_NativeLowering):
    """Numba's lowering, into a library that links ours."""

    _name = "lowering_to_call"

    def run_pass(self, state: Any) -> bool:
        state.flags.no_cfunc_wrapper = True
        state.library = Whole(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return bool(super().run_pass(state))


# What these look for, kernels do not have: closures, comprehensions, expressions of whole arrays, `with`, inline="always".
_NOT_NEEDED = {InlineClosureLikes, InlineInlinables, InlineOverloads, NopythonRewrites, WithLifting}


class Options(Flags):
    """Numba's flags, compared by what was set: it looks up each call of each function by them, and they are often equal."""

    __slots__ = ()

    def __hash__(self) -> int:
        return _ANY_FLAGS

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, Flags) and self._values == other._values) or bool(super().__eq__(other))


_ANY_FLAGS = hash(Flags())  # one for all: numba hashes the names of the flags


class Steps(CompilerBase):
    def __init__(self, typing: Any, target: Any, library: Any, args: Any, result: Any, flags: Any, local: Any) -> None:
        super().__init__(typing, target, library, args, result, Options(flags), local)


def _passes(state: Any, lowering: Any) -> list[Any]:
    manager = PassManager(lowering._name)
    for step, title in DefaultPassBuilder.define_nopython_pipeline(state).passes:
        if step not in _NOT_NEEDED:
            manager.add_pass(lowering if step is NativeLowering else step, title)
    manager.finalize()
    return [manager]


class Inlined(Steps):
    """Numba's compiler, for functions that compiled code calls."""

    def define_pipelines(self) -> list[Any]:
        return _passes(self.state, LoweringToInline)


class Called(Steps):
    """Numba's compiler, for functions that Python calls."""

    def define_pipelines(self) -> list[Any]:
        return _passes(self.state, LoweringToCall)


class Core(CPUDispatcher):
    """A function that compiled code inlines. Called from Python, it is compiled a second time, by itself."""

    @cached_property
    def alone(self) -> Any:
        """What Python calls."""
        return CPUDispatcher(self.py_func, self.locals, self.targetoptions, Called)

    def add_overload(self, cres: Any) -> None:
        self.overloads[tuple(cres.signature.args)] = cres  # and nothing for Python to call

    def _compile_for_args(self, *args: Any, **kws: Any) -> Any:
        return self.alone
