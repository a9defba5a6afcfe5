"""What a structure string stands for, in the same grammar: convolutions, BN, ReLU and residuals, one call each.

The authors' basic blocks: ConvKX(c_in,c_out,kernel,stride), ConvDW(c,kernel,stride), ConvKXG2 to ConvKXG32 with as many
groups, BN(c), RELU(c), Swish(c), SE(c), and ResBlock(c_in,stride,...) or ResBlockProj(c_in,stride,...) around others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from nasedu.blocks import Conv, Part, Residual, check_parts
from nasedu.errors import ArchitectureError, ParameterError
from nasedu.spaces.plainnet.grammar import Call, check_word, read

GROUPED = {f"ConvKXG{g}": g for g in (2, 4, 8, 16, 32)}
CONVS = {"ConvKX": 4, "ConvDW": 3} | dict.fromkeys(GROUPED, 4)  # how many numbers they take
ACTS = {"RELU": "relu", "Swish": "silu"}
RESIDUALS = ("ResBlock", "ResBlockProj")
BASIC = (*CONVS, "BN", *ACTS, "SE", *RESIDUALS)


def write_parts(parts: Iterable[Part], squeeze_excite: bool = False) -> str:
    """A description as a string of basic blocks. Raises `ArchitectureError` for what these cannot say."""
    return "".join(_residual(p, squeeze_excite) if isinstance(p, Residual) else _conv(p, squeeze_excite) for p in parts)


def read_parts(text: str) -> tuple[Part, ...]:
    """Read what `write_parts` writes: a description for `blocks.plain_modules` and `plain_cost`.

    Raises `ArchitectureError` or `UnknownName`, with the place of what is wrong.
    """
    parts = _parts(read(text))
    convs = [conv for part in parts for conv in (part.convs if isinstance(part, Residual) else (part,))]
    try:
        check_parts(parts, convs[0].c_in, convs[-1].c_out, math.prod(conv.stride for conv in convs))
    except ParameterError as error:
        raise ArchitectureError(f"{text.strip()[:60]}: {error}") from None
    return parts


def _residual(part: Residual, squeeze_excite: bool) -> str:
    first, last = part.convs[0], part.convs[-1]
    stride = part.shortcut.stride if part.shortcut else 1
    name = RESIDUALS[part.projection]
    return f"{name}({first.c_in},{stride},{write_parts(part.convs, squeeze_excite)})RELU({last.c_out})"


def _conv(conv: Conv, squeeze_excite: bool) -> str:
    """A convolution with what follows it, written."""
    groups = {1: "ConvKX"} | {g: name for name, g in GROUPED.items()}
    depthwise = conv.groups == conv.c_in == conv.c_out
    acts = {act: name for name, act in ACTS.items()} | {None: ""}
    if conv.bias or conv.act not in acts or not (depthwise or conv.groups in groups):
        raise ArchitectureError(f"no basic block says {conv}")
    c = conv.c_out
    shape = f"{conv.kernel},{conv.stride})"
    text = f"ConvDW({c},{shape}" if depthwise else f"{groups[conv.groups]}({conv.c_in},{c},{shape}"
    text += f"BN({c})" if conv.bn else ""
    text += f"{acts[conv.act]}({c})" if conv.act else ""
    return text + (f"SE({c})" if squeeze_excite and conv.squeeze else "")


def _parts(calls: Sequence[Call]) -> tuple[Part, ...]:
    """Fold calls into parts: BN, an activation and SE each belong to the convolution or residual before them."""
    parts: list[Part] = []
    closed = True  # whether the last residual has had its ReLU
    for call in calls:
        check_word(f"basic block at character {call.at}:", call.name, BASIC)
        if not closed:
            if call.name != "RELU":
                raise ArchitectureError(f"at character {call.at}: a ResBlock is followed by RELU, got {call.name}")
            channels = parts[-1].convs[-1].c_out
            if call.arguments != (channels,):
                raise ArchitectureError(f"at character {call.at}: the ResBlock before is followed by RELU({channels})")
            closed = True
        elif call.name in RESIDUALS:
            parts.append(_read_residual(call))
            closed = False
        elif call.name in CONVS:
            parts.append(_read_conv(call))
        else:
            parts[-1:] = [_refined(parts[-1] if parts else None, call)]
    if not closed:
        raise ArchitectureError(f"the ResBlock at character {calls[-1].at} is not followed by RELU")
    return tuple(parts)


def _numbers(call: Call, wanted: int) -> list[int]:
    """The first `wanted` arguments, positive integers."""
    numbers = list(call.arguments[:wanted])
    if len(numbers) < wanted or not all(isinstance(n, int) and n > 0 for n in numbers):
        raise ArchitectureError(f"at character {call.at}: {call.name} starts with {wanted} positive numbers")
    return numbers


def _read_conv(call: Call) -> Conv:
    """A written convolution, as yet without BN and activation."""
    numbers = _numbers(call, CONVS[call.name])
    if len(call.arguments) != len(numbers):
        raise ArchitectureError(f"at character {call.at}: {call.name} takes {len(numbers)} numbers")
    if call.name == "ConvDW":
        channels, kernel, stride = numbers
        return Conv(channels, channels, kernel, stride, groups=channels, act=None, bn=False)
    return Conv(*numbers, groups=GROUPED.get(call.name, 1), act=None, bn=False)


def _read_residual(call: Call) -> Residual:
    """A written residual block, whose channels and stride must be those of what is in it."""
    c_in, stride = _numbers(call, 2)
    if not all(isinstance(argument, Call) for argument in call.arguments[2:]):
        raise ArchitectureError(f"at character {call.at}: {call.name} takes 2 numbers, then convolutions only")
    inner = _parts(call.arguments[2:])
    if not inner or not all(isinstance(part, Conv) for part in inner):
        raise ArchitectureError(f"at character {call.at}: {call.name} needs convolutions, and no other ResBlock, in it")
    residual = Residual(inner, projection=call.name == "ResBlockProj")
    reached = residual.shortcut.stride if residual.shortcut else 1
    if (inner[0].c_in, reached) != (c_in, stride):
        raise ArchitectureError(
            f"at character {call.at}: {call.name} says {c_in} channels at stride {stride}, "
            f"what is in it takes {inner[0].c_in} at stride {reached}"
        )
    return residual


def _refined(conv: Part | None, call: Call) -> Conv:
    """The convolution with what `call` adds to it."""
    (channels,) = _numbers(call, 1)
    stage = 3 if isinstance(conv, Conv) and conv.squeeze else 0
    if isinstance(conv, Conv):
        stage = stage or (2 if conv.act else int(conv.bn))
    wanted = {"BN": 0, "SE": 2}.get(call.name, 1)
    if not isinstance(conv, Conv) or stage > wanted or conv.c_out != channels or len(call.arguments) != 1:
        raise ArchitectureError(f"at character {call.at}: {call.name}({channels}) cannot follow what is before it")
    change = {"BN": {"bn": True}, "SE": {"squeeze": True}}.get(call.name) or {"act": ACTS[call.name]}
    return conv._replace(**change)
