"""An interpreter of pickles that can only make data.

A pickle is a program for a small stack machine (`pickletools` of the standard library
documents its operations). Python's own machine imports the names in it and calls what
it finds. This one imports nothing: a name stays a text, and whatever is to be done with
it is done by functions of this package, which are found in a table.
"""

import codecs
import struct
from collections.abc import Callable
from typing import Any

from ._inert import Inert
from ._limits import Limits

# Digits and bytes of an integer; a size of a tensor takes 8.
_LONGEST_INTEGER = 64
_LONGEST_LINE = 2**16


class Slot:
    """The place of an object that is made in two steps: a name, then its state."""

    def __init__(self, name: str, finish: Callable[[Any], Any]):
        self.name = name
        self.finish = finish
        self.value: Any = self


class Machine:
    """Runs one pickle.

    **Arguments:**

    - `data`: the bytes that hold it, or a map of the file.
    - `position`: where it begins. Afterwards `position` is where it ended.
    - `name`: a function that gives what a name stands for.
    - `call`: a function that gives what a name makes of arguments.
    - `persistent`: a function of a persistent identifier: the storage of a tensor.
    - `limits`: what reading may take.
    """

    def __init__(
        self,
        data: Any,
        position: int,
        *,
        name: Callable[[str], Inert],
        call: Callable[[Inert, tuple[Any, ...]], Any],
        persistent: Callable[[Any], Any],
        limits: Limits,
    ):
        self.position = position
        self._data, self._size = data, len(data)
        self._name, self._call, self._persistent = name, call, persistent
        self._limits = limits
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The object that the pickle describes."""
        while True:
            self._limits.operation()
            code = self._take(1)
            if code == b".":
                return self._result()
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise ValueError(
                    f"byte {self.position - 1} is {code!r}, which is no operation of a "
                    "pickle that holds data. The file is damaged, or not a pickle."
                )
            operation(self)

    # Bytes.

    def _take(self, size: int) -> bytes:
        end = self.position + size
        if size < 0 or end > self._size:
            raise ValueError(
                f"it ends too early: {size:,} bytes are announced at byte "
                f"{self.position:,} of {self._size:,}. Fetch the file again."
            )
        part = bytes(self._data[self.position : end])
        self.position = end
        return part

    def _number(self, layout: str) -> Any:
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _line(self) -> bytes:
        end = self._data.find(b"\n", self.position, self.position + _LONGEST_LINE)
        if end < 0:
            raise ValueError(
                f"a line at byte {self.position:,} has no end. Fetch the file again."
            )
        return self._take(end + 1 - self.position)[:-1]

    # The stack.

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise ValueError("it takes a value where there is none. It is damaged.")
        return self._stack.pop()

    def _top(self) -> Any:
        value = self._pop()
        self._push(value)
        return value

    def _pop_marked(self) -> list[Any]:
        if not self._marks:
            raise ValueError("it closes a group that was not opened. It is damaged.")
        mark = self._marks.pop()
        values = self._stack[mark:]
        del self._stack[mark:]
        return values

    def _drop(self) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._pop()

    def _drop_marked(self) -> None:
        self._pop_marked()

    def _result(self) -> Any:
        value = self._pop()
        if self._stack or self._marks:
            raise ValueError("it ends with values left over. It is damaged.")
        return value

    # Numbers and texts.

    def _int_line(self) -> None:
        line = self._line()
        # The first protocol has no truth values: these are they.
        special = {b"00": False, b"01": True}
        self._push(special[line] if line in special else _integer(line))

    def _long_line(self) -> None:
        self._push(_integer(self._line().removesuffix(b"L")))

    def _long(self, layout: str) -> None:
        size = self._number(layout)
        if not 0 <= size <= _LONGEST_INTEGER:
            raise ValueError(f"it holds an integer of {size:,} bytes. It is damaged.")
        self._push(int.from_bytes(self._take(size), "little", signed=True))

    def _float_line(self) -> None:
        self._push(float(self._line()))

    def _text(self, layout: str) -> None:
        content = self._take(self._number(layout))
        self._push(content.decode("utf-8", "surrogatepass"))

    def _text_line(self) -> None:
        self._push(self._line().decode("raw-unicode-escape"))

    def _old_text(self, layout: str) -> None:
        # Texts of Python 2 are bytes; these are the bytes of arrays as well.
        self._push(self._take(self._number(layout)).decode("latin-1"))

    def _old_text_line(self) -> None:
        line = self._line()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b"'\"":
            raise ValueError("it holds a text without quotes. It is damaged.")
        self._push(codecs.escape_decode(line[1:-1])[0].decode("latin-1"))

    def _bytes(self, layout: str) -> None:
        self._push(self._take(self._number(layout)))

    def _protocol(self) -> None:
        version = self._number("<B")
        if version > 5:
            raise ValueError(f"it is a pickle of the protocol {version}; known is 5.")

    def _frame(self) -> None:
        # The length of a part, which helps readers of streams only.
        self._number("<Q")

    # Containers.

    def _tuple(self, size: int) -> None:
        values = [self._pop() for _ in range(size)]
        self._push(tuple(reversed(values)))

    def _append(self) -> None:
        value = self._pop()
        self._extend(self._top(), [value])

    def _appends(self) -> None:
        values = self._pop_marked()
        self._extend(self._top(), values)

    def _extend(self, target: Any, values: list[Any]) -> None:
        if isinstance(target, Inert) and target.arguments is not None:
            target.items = [] if target.items is None else target.items
            target = target.items
        if not isinstance(target, list):
            raise ValueError(f"it appends to a {type(target).__name__}.")
        target.extend(values)

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._update(self._top(), [key, value])

    def _set_items(self) -> None:
        values = self._pop_marked()
        self._update(self._top(), values)

    def _update(self, target: Any, values: list[Any]) -> None:
        if isinstance(target, Inert) and target.arguments is not None:
            target.items = {} if target.items is None else target.items
            target = target.items
        if not isinstance(target, dict):
            raise ValueError(f"it puts an entry into a {type(target).__name__}.")
        target.update(_pairs(values))

    def _add_items(self) -> None:
        values = [check_key(value) for value in self._pop_marked()]
        target = self._top()
        if not isinstance(target, set):
            raise ValueError(f"it adds a member to a {type(target).__name__}.")
        target.update(values)

    # The memory.

    def _put(self, index: int) -> None:
        if index < 0:
            raise ValueError(f"it stores a value at the place {index}. It is damaged.")
        self._memo[index] = self._top()

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise ValueError(f"it reads the place {index}, which is empty.")
        value = self._memo[index]
        self._push(value.value if isinstance(value, Slot) else value)

    # Names, and what was to be done with them.

    def _global(self) -> None:
        module, name = self._line(), self._line()
        self._push(self._name(f"{module.decode()}.{name.decode()}"))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise ValueError("it has a name that is no text. It is damaged.")
        self._push(self._name(f"{module}.{name}"))

    def _reduce(self) -> None:
        arguments = self._pop()
        self._make(self._pop(), arguments)

    def _new_object(self) -> None:
        arguments = self._pop()
        self._make(self._pop(), arguments)

    def _new_object_with_names(self) -> None:
        names, arguments, kind = self._pop(), self._pop(), self._pop()
        if not isinstance(names, dict):
            raise ValueError("it has named arguments that are no dictionary.")
        self._make(kind, (*arguments, names) if names else arguments)

    def _instance(self) -> None:
        arguments = tuple(self._pop_marked())
        self._global()
        self._make(self._pop(), arguments)

    def _old_object(self) -> None:
        kind, *arguments = self._pop_marked() or [None]
        self._make(kind, tuple(arguments))

    def _make(self, kind: Any, arguments: Any) -> None:
        if not isinstance(kind, Inert) or kind.arguments is not None:
            raise ValueError(
                f"it calls a {type(kind).__name__}, which is not a name. It is damaged "
                "or hostile."
            )
        if not isinstance(arguments, tuple):
            raise ValueError(
                f"it calls `{kind.name}` with a {type(arguments).__name__}; expected a "
                "tuple. It is damaged."
            )
        self._push(self._call(kind, arguments))

    def _build(self) -> None:
        state, target = self._pop(), self._pop()
        if isinstance(target, Slot):
            target.value = target.finish(state)
            self._push(target.value)
        elif isinstance(target, Inert) and target.arguments is not None:
            if target.state is not None:
                raise ValueError(f"it gives {target!r} two states. It is damaged.")
            target.state = state
            self._push(target)
        elif isinstance(target, dict):
            # A state dictionary carries the versions of its layers as an attribute.
            self._push(target)
        else:
            raise ValueError(
                f"it sets the state of a {type(target).__name__}, which is data. It is "
                "damaged or hostile."
            )

    def _persistent_line(self) -> None:
        self._push(self._persistent(self._line().decode()))

    def _persistent_value(self) -> None:
        self._push(self._persistent(self._pop()))


def check_key(key: Any) -> Any:
    """Refuses keys of dictionaries and members of sets that are no plain values."""
    if key is None or isinstance(key, str | bytes | bool | int | float):
        return key
    raise ValueError(
        f"it uses a {type(key).__name__} as the key of an entry; expected a text or a "
        "number."
    )


def _pairs(values: list[Any]) -> list[tuple[Any, Any]]:
    if len(values) % 2:
        raise ValueError("it has a key without a value. It is damaged.")
    return [(check_key(k), v) for k, v in zip(values[::2], values[1::2], strict=True)]


def _integer(line: bytes) -> int:
    if len(line) > _LONGEST_INTEGER:
        raise ValueError(f"it holds an integer of {len(line):,} digits.")
    return int(line)


_OPERATIONS: dict[bytes, Callable[[Machine], None]] = {
    b"\x80": Machine._protocol,
    b"\x95": Machine._frame,
    b"(": lambda m: m._marks.append(len(m._stack)),
    b"0": Machine._drop,
    b"1": Machine._drop_marked,
    b"2": lambda m: m._push(m._top()),
    b"N": lambda m: m._push(None),
    b"\x88": lambda m: m._push(True),
    b"\x89": lambda m: m._push(False),
    b"I": Machine._int_line,
    b"J": lambda m: m._push(m._number("<i")),
    b"K": lambda m: m._push(m._number("<B")),
    b"M": lambda m: m._push(m._number("<H")),
    b"L": Machine._long_line,
    b"\x8a": lambda m: m._long("<B"),
    b"\x8b": lambda m: m._long("<i"),
    b"F": Machine._float_line,
    b"G": lambda m: m._push(m._number(">d")),
    b"S": Machine._old_text_line,
    b"T": lambda m: m._old_text("<i"),
    b"U": lambda m: m._old_text("<B"),
    b"V": Machine._text_line,
    b"X": lambda m: m._text("<I"),
    b"\x8c": lambda m: m._text("<B"),
    b"\x8d": lambda m: m._text("<Q"),
    b"B": lambda m: m._bytes("<I"),
    b"C": lambda m: m._bytes("<B"),
    b"\x8e": lambda m: m._bytes("<Q"),
    b"\x96": lambda m: m._bytes("<Q"),
    b"]": lambda m: m._push([]),
    b"a": Machine._append,
    b"e": Machine._appends,
    b"l": lambda m: m._push(m._pop_marked()),
    b")": lambda m: m._push(()),
    b"t": lambda m: m._push(tuple(m._pop_marked())),
    b"\x85": lambda m: m._tuple(1),
    b"\x86": lambda m: m._tuple(2),
    b"\x87": lambda m: m._tuple(3),
    b"}": lambda m: m._push({}),
    b"d": lambda m: m._push(dict(_pairs(m._pop_marked()))),
    b"s": Machine._set_item,
    b"u": Machine._set_items,
    b"\x8f": lambda m: m._push(set()),
    b"\x90": Machine._add_items,
    b"\x91": lambda m: m._push(frozenset(map(check_key, m._pop_marked()))),
    b"p": lambda m: m._put(_integer(m._line())),
    b"q": lambda m: m._put(m._number("<B")),
    b"r": lambda m: m._put(m._number("<I")),
    b"\x94": lambda m: m._put(len(m._memo)),
    b"g": lambda m: m._get(_integer(m._line())),
    b"h": lambda m: m._get(m._number("<B")),
    b"j": lambda m: m._get(m._number("<I")),
    b"c": Machine._global,
    b"\x93": Machine._stack_global,
    b"R": Machine._reduce,
    b"\x81": Machine._new_object,
    b"\x92": Machine._new_object_with_names,
    b"i": Machine._instance,
    b"o": Machine._old_object,
    b"b": Machine._build,
    b"P": Machine._persistent_line,
    b"Q": Machine._persistent_value,
}
