"""Right and plausible wrong answers to the exercises of notebook 01, with the sentence that names the fault."""

from __future__ import annotations

from nasedu.course.checks.proxylessnas import check_depthwise_macs, check_parameters, check_space_size


def parameters(c_in, c_out, k, e):
    hidden = c_in * e
    expand = c_in * hidden + 2 * hidden if e > 1 else 0
    return expand + k * k * hidden + 2 * hidden + hidden * c_out + 2 * c_out


def without_norm(c_in, c_out, k, e):
    hidden = c_in * e
    return (c_in * hidden if e > 1 else 0) + k * k * hidden + hidden * c_out


def dense(c_in, c_out, k, e):
    return parameters(c_in, c_out, k, e) + (c_in * e - 1) * k * k * c_in * e


def always_expands(c_in, c_out, k, e):
    return parameters(c_in, c_out, k, e) + (c_in * c_in + 2 * c_in if e == 1 else 0)


def with_bias(c_in, c_out, k, e):
    return parameters(c_in, c_out, k, e) + c_in * e


PARAMETERS = [
    (parameters, None),
    (without_norm, "normalised"),
    (dense, "depthwise"),
    (always_expands, "at expansion 1"),
    (lambda c, o, k, e: parameters(c, o, 1, e) + (k - 1) * c * e, "25 - 9"),
    (lambda *block: parameters(*block) + 2 * block[0] * block[3] * (block[3] > 1), "expand, depthwise and project"),
    (with_bias, "at expansion 1"),
]


def macs(channels, k, size, stride):
    return channels * k * k * (-(-size // stride)) ** 2


MACS = [
    (macs, None),
    (lambda c, k, size, s: c * c * k * k * (-(-size // s)) ** 2, "twice the channels"),
    (lambda c, k, size, s: c * k * k * size**2, "stride 2"),
    (lambda c, k, size, s: c * k * k * size**2 // s, "stride 2"),
    (lambda c, k, size, s: 2 * macs(c, k, size, s), "MACs, not FLOPs"),
    (lambda c, k, size, s: c * k * k * (size // s) ** 2, "rounded up"),
    (lambda c, k, size, s: c * k * (-(-size // s)) ** 2, "25 / 9"),
    (lambda c, k, size, s: c * k * k * (-(-size // s)), "four times"),
]


def size(stages, c_in, operations):
    total = 1
    for channels, repeats, stride in stages:
        for n in range(repeats):
            can_skip = c_in == channels and (stride == 1 or n > 0)
            total *= operations + can_skip
            c_in = channels
    return total


def product_of(factor):
    def answer(stages, c_in, operations):
        total = 1
        for channels, repeats, stride in stages:
            for n in range(repeats):
                total *= factor(n, stride, c_in, channels, operations)
                c_in = channels
        return total

    return answer


SIZES = [
    (size, None),
    (product_of(lambda n, s, c, o, ops: ops + 1), "cannot be skipped"),
    (product_of(lambda n, s, c, o, ops: ops), "42"),
    (product_of(lambda n, s, c, o, ops: ops + (s == 1 or n > 0)), "changes the channels"),
    (product_of(lambda n, s, c, o, ops: ops + (n > 0)), "like any other"),
    (product_of(lambda n, s, c, o, ops: 6 + (c == o and (s == 1 or n > 0))), "number of operations"),
    (lambda *outline: float(size(*outline)), "exact"),
    (lambda stages, c, ops: sum(size([stage], c, ops) for stage in stages), "the stage before"),
    (lambda stages, c, ops: size(stages, c, ops) // (7 if len(stages) == 3 else 1), "stage before"),
]

ANSWERS = {
    check_parameters: PARAMETERS,
    check_depthwise_macs: MACS,
    check_space_size: SIZES,
}
