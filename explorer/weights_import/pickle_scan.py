"""The sizes and names that a pickle of `torch.save` declares, read without unpickling anything.

The opcodes are followed over a stack of inert values: nothing is imported, called or built. So the size of every
tensor, and every name that unpickling would look up, are known before torch sees a byte.
"""

import pickletools
from dataclasses import dataclass, field
from math import prod
from typing import IO, Any, NamedTuple

from explorer.weights_import.report import WeightsError, quote

MAGIC = 0x1950A86A20F9469CFC6C  # torch's, at the start of a file from before 1.6
MAX_OPCODES = 1_000_000  # ResNet-1202 with the state of its optimiser takes 300,000
MAX_BYTES = 2**30

ITEM_SIZES = {
    **{f"{kind}Storage": 8 for kind in ("Double", "Long", "ComplexFloat")},
    **{f"{kind}Storage": 4 for kind in ("Float", "Int")},
    **{f"{kind}Storage": 2 for kind in ("Half", "BFloat16", "Short")},
    **{f"{kind}Storage": 1 for kind in ("Char", "Byte", "Bool", "Untyped")},
    "ComplexDoubleStorage": 16,
}
REBUILD = {"_rebuild_tensor", "_rebuild_tensor_v2"}
DTYPES = {"float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool"}
# Names in state dicts, optimisers and schedulers; fewer than torch's own list for weights_only.
HARMLESS = {
    ("collections", "OrderedDict"),
    ("collections", "Counter"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch.serialization", "_get_layout"),
    ("torch", "Size"),
    ("torch", "device"),
    ("_codecs", "encode"),
    ("builtins", "set"),
    ("__builtin__", "set"),
    ("builtins", "bytearray"),
    *(("torch._utils", name) for name in REBUILD),
    *(("torch", name) for name in (*ITEM_SIZES, *DTYPES)),
    *(("torch.storage", name) for name in ("UntypedStorage", "TypedStorage")),
}
# Classes of objects that often stand beside weights: arguments, accuracies of numpy, paths. None is imported or called:
# each object is read as an `InertObject`.
INERT = {
    ("argparse", "Namespace"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(("pathlib", name) for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")),
}
CUT_OFF = "is damaged or cut off; download or save it again."


def check_bytes(total: int, verb: str) -> None:
    """Raises WeightsError for more than `MAX_BYTES`."""
    if total > MAX_BYTES:
        raise WeightsError(f"{verb} {total / 2**30:,.1f} GB; {MAX_BYTES / 2**30:g} GB is the most.")


class Global(NamedTuple):
    """A name that unpickling would import."""

    module: str
    name: str


class Storage(NamedTuple):
    key: str
    size: int  # bytes
    item_size: int


MARK, CONSTRUCTED = object(), object()  # the latter stands for each object that unpickling would construct


@dataclass
class PickleScan:
    """`storages` has the bytes of each by its key, `tensors` the bytes of all tensors together."""

    storages: dict[str, int] = field(default_factory=dict)
    tensors: int = 0
    globals: list[Global] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return max(sum(self.storages.values()), self.tensors)

    def check(self) -> None:
        """Raises WeightsError for too many bytes, and for names that weights have no use for."""
        strange = [entry for entry in self.globals if entry not in HARMLESS | INERT]
        if any(entry.module.startswith("torch.nn.modules") for entry in strange):
            raise WeightsError(
                "is a whole pickled model, which would run program code when it is opened; save its weights alone, "
                "with `torch.save(model.state_dict(), ...)`."
            )
        for entry in strange:
            if entry.name in ("_rebuild_sparse_tensor", "_rebuild_qtensor", "_rebuild_nested_tensor"):
                raise WeightsError("holds a sparse, nested or quantised tensor; save ordinary weights of a network.")
            dotted = quote(f"{entry.module}.{entry.name}")
            raise WeightsError(
                f"names {dotted}, which weights have no use for, so it is not opened: besides tensors, numbers and "
                "texts it holds objects of a program; save the weights alone, with "
                "`torch.save(model.state_dict(), ...)`."
            )
        check_bytes(self.bytes, "declares tensors of")


def scan_pickle(content: IO[bytes], declaration: PickleScan) -> Any:
    """Follows one pickle from where `content` stands, adds to `declaration`, and returns its result.

    Of that only constants and tuples are themselves. Raises WeightsError for opcodes that weights have no use for;
    IndexError, KeyError and the errors of pickletools (ValueError, struct.error, ...) for a damaged pickle.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any  # of the kind that its opcode has
    for number, (operation, argument, _) in enumerate(pickletools.genops(content)):
        name = operation.name
        if number > MAX_OPCODES:
            raise WeightsError("holds millions of small objects; save the weights alone.")
        if name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in ARGUMENTS:
            stack.append(argument)
        elif name == "PROTO":
            if argument > 3:
                raise WeightsError(
                    f"was saved with pickle protocol {argument}, which torch cannot open safely; save it with "
                    "`torch.save` as it is, without `pickle_protocol`."
                )
        elif name == "MARK":
            stack.append(MARK)
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            size = int(name[-1])
            stack[-size:] = [tuple(stack[-size:])]
        elif name == "TUPLE":
            stack.append(tuple(to_mark(stack)))
        elif name in ("APPENDS", "SETITEMS"):
            to_mark(stack)
        elif name in ("APPEND", "BUILD"):
            stack.pop()
        elif name == "SETITEM":
            del stack[-2:]
        elif name == "GLOBAL":
            module, _, attribute = argument.partition(" ")
            stack.append(Global(module, attribute))
            declaration.globals.append(stack[-1])
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, function = stack.pop(), stack.pop()
            stack.append(CONSTRUCTED)
            if isinstance(function, Global) and function.name in REBUILD:
                declaration.tensors += tensor_bytes(arguments)
        elif name == "BINPERSID":
            stack.append(storage(stack.pop()))
            declaration.storages[stack[-1].key] = stack[-1].size
        elif name == "STOP":
            return stack.pop()
        else:  # torch's own reader for weights_only knows no more than these
            raise WeightsError("holds objects of a program, which weights have no use for, so it is not opened.")
    raise WeightsError(CUT_OFF)


CONSTANTS: dict[str, Any] = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
    "EMPTY_TUPLE": (),
    **dict.fromkeys(("EMPTY_DICT", "EMPTY_LIST", "EMPTY_SET"), CONSTRUCTED),
}
ARGUMENTS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINSTRING", "BINUNICODE"}


def to_mark(stack: list[Any]) -> list[Any]:
    """Takes everything above the last mark, and the mark, off the stack."""
    for index in range(len(stack) - 1, -1, -1):
        if stack[index] is MARK:
            taken = stack[index + 1 :]
            del stack[index:]
            return taken
    raise WeightsError(CUT_OFF)


def storage(identifier: Any) -> Storage:
    """From ("storage", its class, key, device, number of items), with which torch refers to it."""
    match identifier:
        case ("storage", Global(module, kind), str(key), str(), int(items), *_) if module in ("torch", "torch.storage"):
            if kind in ITEM_SIZES and 0 <= items:
                return Storage(key, items * ITEM_SIZES[kind], ITEM_SIZES[kind])
    raise WeightsError("refers to weights in a way that `torch.save` does not; save it again.")


def tensor_bytes(arguments: Any) -> int:
    """From (storage, offset, size, strides, ...), with which torch rebuilds a tensor."""
    match arguments:
        case (Storage(_, _, item_size), int(offset), tuple(size), tuple(strides), *_):
            numbers = (offset, *size, *strides)
            if len(size) == len(strides) <= 64 and all(type(number) is int and number >= 0 for number in numbers):
                return item_size * prod(size)
    raise WeightsError("describes a tensor in a way that `torch.save` does not; save it again.")
