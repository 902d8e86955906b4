"""Makes PySide6 behave as PythonQt does: properties are attributes, signals are named by their C++ signature.

What PythonQt refuses is refused here too: calling a property (``label.text()``), setting an attribute that does not
exist, a value of the wrong type, a signal that the class does not have.
"""

from __future__ import annotations

import ctypes
import functools
import inspect
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import shiboken6
from PySide6 import QtCore

_NOT_AS_ATTRIBUTES = {"sizeHint", "minimumSizeHint"}  # virtual methods: Qt would call the attribute
_INTEGERS = {"int", "uint", "qlonglong", "qulonglong"}
_original_getattribute = QtCore.QObject.__getattribute__
# (C++ address, normalised signature) -> callables as given and as connected; strong references, as PythonQt keeps.
_connections: dict[tuple[int, str], list[tuple[Callable[..., Any], Callable[..., Any]]]] = {}


class QtProperty:
    """A Qt property as an attribute."""

    def __init__(self, name: str, kind: str, writable: bool) -> None:
        self.name, self.kind, self.writable = name, kind, writable

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else instance.property(self.name)

    def __set__(self, instance: Any, value: Any) -> None:
        where = f"{type(instance).__name__}.{self.name}"
        if not self.writable:
            raise AttributeError(f"property '{where}' is not writable")
        if not self._fits(value):
            raise TypeError(f"property '{where}' of type '{self.kind}' does not accept {value!r}")
        if not instance.setProperty(self.name, value):
            raise TypeError(f"property '{where}' of type '{self.kind}' could not be set to {value!r}")

    def _fits(self, value: Any) -> bool:
        if self.kind == "QString":
            return isinstance(value, str)
        if self.kind == "bool":
            return isinstance(value, int)
        if self.kind in _INTEGERS:
            return isinstance(value, int)
        if self.kind in ("double", "float"):
            return isinstance(value, int | float)
        return value is not None


class NameAlias:
    """PythonQt's ``name`` is Qt's ``objectName``."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else instance.property("objectName")

    def __set__(self, instance: Any, value: str) -> None:
        instance.objectName = value


def classes_of(*modules: ModuleType) -> Iterator[type]:
    """All QObject classes of PySide6 modules, nested ones left out."""
    for module in modules:
        for name in dir(module):  # vars() lacks those that PySide6 has not made yet
            value = getattr(module, name)
            if isinstance(value, type) and issubclass(value, QtCore.QObject):
                yield value


def make_strict(*modules: ModuleType) -> None:
    """Change every QObject class of these PySide6 modules."""
    _install_attribute_access(QtCore.QObject)
    for cls in classes_of(*modules):
        _install_properties(cls)
        cls.__setattr__ = _setattr  # type: ignore[assignment,method-assign]
    QtCore.QObject.name = NameAlias()
    QtCore.QObject.className = lambda self: self.metaObject().className()


def stand_in(cls: type) -> type:
    """Mark a Python class as one that is C++ in the application: no attributes but its own."""
    cls.standsForCpp = True  # type: ignore[attr-defined]
    return cls


def _install_attribute_access(cls: type) -> None:
    def getattribute(self: Any, name: str) -> Any:
        if name == "connect":
            return functools.partial(connect, self)
        if name == "disconnect":
            return functools.partial(disconnect, self)
        if name == "exec":  # PythonQt's is exec_
            raise AttributeError(f"'{type(self).__name__}' object has no attribute 'exec'")
        return _original_getattribute(self, name)

    cls.__getattribute__ = getattribute  # type: ignore[assignment,method-assign]


def _install_properties(cls: type) -> None:
    meta = cls.staticMetaObject  # type: ignore[attr-defined]
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        declared = meta.property(index)
        name = declared.name()
        if name not in _NOT_AS_ATTRIBUTES:
            setattr(cls, name, QtProperty(name, declared.typeName(), declared.isWritable()))


def _setattr(self: Any, name: str, value: Any) -> None:
    cls = type(self)
    descriptor = inspect.getattr_static(cls, name, None)
    if isinstance(descriptor, QtCore.Property):  # a stand-in's own
        declared = self.metaObject().property(self.metaObject().indexOfProperty(name))
        QtProperty(name, declared.typeName(), declared.isWritable()).__set__(self, value)
    elif hasattr(type(descriptor), "__set__"):
        descriptor.__set__(self, value)
    elif isinstance(value, QtCore.SignalInstance):  # PySide6 keeps them so
        _set_attribute(self, name, value)
    elif _is_cpp(cls):
        raise AttributeError(f"'{cls.__name__}' has no attribute '{name}', and none can be added to a C++ object")
    else:
        _set_attribute(self, name, value)


def _set_attribute(instance: Any, name: str, value: Any) -> None:
    """As ``object.__setattr__``, which Python refuses to apply to objects whose classes were changed."""
    made_object = ctypes.py_object
    if ctypes.pythonapi.PyObject_GenericSetAttr(made_object(instance), made_object(name), made_object(value)) != 0:
        raise AttributeError(name)


def _is_cpp(cls: type) -> bool:
    return cls.__module__.startswith("PySide6.") or "standsForCpp" in vars(cls)


def signals_of(widget: QtCore.QObject) -> set[str]:
    """Normalised signatures of all signals, those that stand-ins declare with their C++ types included."""
    meta = widget.metaObject()
    methods = [meta.method(index) for index in range(meta.methodCount())]
    found = {
        bytes(method.methodSignature().data()).decode()
        for method in methods
        if method.methodType() == QtCore.QMetaMethod.MethodType.Signal
    }
    declared = _declared_signals(widget)
    hidden = {name.split("(")[0] for name in declared.values()}
    return {signature for signature in found if signature.split("(")[0] not in hidden} | set(declared)


def _declared_signals(widget: QtCore.QObject) -> dict[str, str]:
    """C++ signature → attribute, from the classes' ``cppSignals``."""
    declared: dict[str, str] = {}
    for cls in reversed(type(widget).__mro__):
        declared.update(vars(cls).get("cppSignals", {}))
    return declared


def connect(sender: QtCore.QObject, signature: str, receiver: Callable[..., Any]) -> bool:
    """``sender.connect("clicked(bool)", receiver)``.

    Raises:
        AttributeError: there is no such signal; in the application nothing would ever happen.
    """
    if not isinstance(signature, str) or not callable(receiver):
        raise TypeError("connect() takes a signature and a callable")
    normalised = _existing(sender, signature)
    given = normalised[normalised.index("(") + 1 : -1]
    connected = _passing(receiver, given.count(",") + 1 if given else 0)
    _signal(sender, normalised).connect(connected)
    _connections.setdefault((_address(sender), normalised), []).append((receiver, connected))
    return True


def disconnect(sender: QtCore.QObject, signature: str, receiver: Callable[..., Any]) -> bool:
    """The reverse; False where it was not connected."""
    normalised = _existing(sender, signature)
    known = _connections.get((_address(sender), normalised), [])
    for index, (given, connected) in enumerate(known):
        if given == receiver:
            _signal(sender, normalised).disconnect(connected)
            del known[index]
            return True
    return False


def normalise(signature: str) -> str:
    """A signature as Qt keeps it: no blanks, no constant references."""
    return re.sub(r"const(\w+)&", r"\1", signature.replace(" ", ""))


def _existing(sender: QtCore.QObject, signature: str) -> str:
    normalised = normalise(signature)
    if normalised not in signals_of(sender):
        raise AttributeError(f"{type(sender).__name__} has no signal {signature}")
    return normalised


def _signal(sender: QtCore.QObject, normalised: str) -> Any:
    declared = _declared_signals(sender)
    if normalised in declared:
        return getattr(sender, declared[normalised])
    name, _, arguments = normalised[:-1].partition("(")
    signal = getattr(sender, name)
    return signal[arguments] if arguments else signal  # one of its overloads


def _address(sender: QtCore.QObject) -> int:
    return int(shiboken6.getCppPointer(sender)[0])


def _passing(receiver: Callable[..., Any], count: int) -> Callable[..., Any]:
    """As PythonQt calls: a function that takes fewer arguments than the signal has gets the first ones only."""
    function = receiver.__func__ if inspect.ismethod(receiver) else receiver
    if inspect.isfunction(function) and not function.__code__.co_flags & inspect.CO_VARARGS:
        taken = function.__code__.co_argcount - (1 if inspect.ismethod(receiver) else 0)
        count = min(count, taken)

    def call(*arguments: Any) -> Any:
        return receiver(*arguments[:count])

    return call
