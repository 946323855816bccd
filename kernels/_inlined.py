"""How functions are compiled that nothing but compiled code calls: as far as LLVM's language, never to machine code.

Numba optimises every function and makes machine code of it, and of two wrappers, before it compiles a caller, where all of
it is inlined and optimised again: half of the time that a loop takes to compile, for code that never runs. Here an entry
point links the functions below it as they were lowered, each once, and is optimised as a whole.

The only classes of this folder: numba's compiler is extended by subclasses. Nothing outside sees their types.
"""

from functools import cached_property
from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder, _LowerResult
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import NativeLowering

_PYTHON_WRAPPER = "_ZN7cpython"  # how numba's name of one begins


class Linked(JITCodeLibrary):
    """A library that knows all of ours below it, each after all that call it.

    The order is what LLVM's linker asks for: of a library it takes what was called so far, and drops the rest.
    """

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
            if function.name.startswith(_PYTHON_WRAPPER) and not function.is_declaration:
                function.add_function_attribute("optnone")
                function.add_function_attribute("noinline")
        super()._optimize_functions(ll_module)

    def finalize(self) -> None:
        self._link(self._final_module)
        self._linking_libraries.clear()
        super().finalize()

    def _verify_declare_only_symbols(self) -> None:
        super()._verify_declare_only_symbols()
        for function in self._final_module.functions:
            if function.is_declaration and function.name.startswith("_ZN"):
                raise AssertionError(f"{function.name} was not linked")


@register_pass(mutates_CFG=True, analysis_only=False)
class LoweringToInline(NativeLowering):
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
class LoweringToCall(NativeLowering):
    """Numba's lowering, into a library that links ours."""

    _name = "lowering_to_call"

    def run_pass(self, state: Any) -> bool:
        state.flags.no_cfunc_wrapper = True
        state.library = Whole(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return bool(super().run_pass(state))


def _passes(state: Any, lowering: Any) -> list[Any]:
    manager = PassManager(lowering._name)
    for step, title in DefaultPassBuilder.define_nopython_pipeline(state).passes:
        manager.add_pass(lowering if step is NativeLowering else step, title)
    manager.finalize()
    return [manager]


class Inlined(CompilerBase):
    """Numba's compiler, for functions that compiled code calls."""

    def define_pipelines(self) -> list[Any]:
        return _passes(self.state, LoweringToInline)


class Called(CompilerBase):
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
