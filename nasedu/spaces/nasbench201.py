"""NAS-Bench-201's space: a cell of four nodes, an operation on each of its six edges, repeated through the network.

X. Dong and Y. Yang, "NAS-Bench-201", ICLR 2020, section 2.1; macro-structure as in its figure 1. Node j adds up what
its edges from all nodes before it carry. All cells are decided together, so a network is six choices of five
operations: 15,625 cells.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

from torch import nn

from nasedu.blocks import ACTIVATIONS, ActConvBN, Add, Classifier, ConvBN, PoolReduction, ReductionBlock, Zero
from nasedu.errors import ArchitectureError, ParameterError, brief, check_name, check_whole
from nasedu.spaces.base import Arch, Layer, SearchSpace, Slot, choice
from nasedu.spaces.macro import Options, Published

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")  # the benchmark's own order
EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))  # (node, node that it reads), in the order of its strings
CELL = re.compile(r"\+".join(r"\|" + "".join(rf"([^|+~\s]+)~{i}\|" for i in range(n)) for n in (1, 2, 3)))
REDUCTIONS = {"residual": ReductionBlock, "pool": PoolReduction}
CHANNELS, CELLS = 16, 5  # C of the first stage, N cells in each of the three stages

_BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
PUBLISHED = {
    "best on CIFAR-10": Published(
        _BEST,
        153_272_960,
        1_073_466,
        "NAS-Bench-201, index 6111: 94.37 % test accuracy after 200 epochs (the authors'); its table says 153.27297 M, "
        "which counts the 10 biases of the classifier as multiply-accumulates",
    ),
}


class NasBench201Space(SearchSpace):
    """Cells of `operations` on six edges; by default the benchmark's own at 32 px, 16 channels and 5 cells a stage.

    operations: some of `OPERATIONS`, at least two; 4 stands for all but "none", as RD-NAS searches (4,096 cells).
    reduction: between the stages; "pool" leaves all 3x3 convolutions to the cells, so that much depends on them,
        "residual" is the benchmark's.
    options: as in `spaces.macro.Options`, with other defaults: `width` multiplies the 16 channels (to the nearest whole
        number), `depth` the 5 cells of each of the three stages.

    Raises `ParameterError`, `UnknownName`.
    """

    name = "nasbench201"

    def __init__(self, *, operations: Sequence[str] | int = OPERATIONS, reduction: str = "residual", **options):
        self.options = Options(**{"num_classes": 10, "input_size": 32, "stem_stride": 1} | options)
        if isinstance(operations, int):
            operations = OPERATIONS[-check_whole("operations, as a number,", operations, 4, 5) :]
        if isinstance(operations, str) or not isinstance(operations, Sequence):
            raise ParameterError(f"operations are a list of names, 4 or 5, got {brief(operations)}")
        self.operations = tuple(check_name("operation", name, OPERATIONS) for name in operations[: len(OPERATIONS) + 1])
        if len(set(self.operations)) != len(operations) or len(operations) < 2:
            raise ParameterError(f"a cell needs at least two different operations, got {brief(operations)}")
        self.reduce = REDUCTIONS[check_name("reduction", reduction, REDUCTIONS)]
        self.act = self.options.activation or "relu"
        self.input_shape = self.options.input_shape
        self.layers = list(self._layers())

    def format(self, arch: Arch) -> str:
        """The benchmark's own string, as in `|none~0|+|skip_connect~0|none~1|+|none~0|none~1|none~2|`."""
        nodes: dict[int, str] = {}
        for (node, source), index in zip(EDGES, self.validate(arch), strict=True):
            nodes[node] = nodes.get(node, "|") + f"{self.operations[index]}~{source}|"
        return "+".join(nodes.values())

    def parse(self, text: str) -> Arch:
        """Read a string of the benchmark's. Raises `ArchitectureError` or `UnknownName`."""
        text = self._text(text).strip()
        found = CELL.fullmatch(text)
        if not found:
            raise ArchitectureError(
                f"a cell of {self.name} reads |op~0|+|op~0|op~1|+|op~0|op~1|op~2|, got {brief(text)}"
            )
        return tuple(self.operations.index(check_name("operation", op, self.operations)) for op in found.groups())

    def _layers(self):
        width = max(1, round(CHANNELS * self.options.width))
        yield Layer("stem", partial(ConvBN, 3, width, 3, self.options.stem_stride, act=None))
        cells = max(1, round(CELLS * self.options.depth))
        before = "stem"
        for stage in (1, 2, 3):
            if stage > 1:
                yield Layer(f"reduce{stage}", partial(self.reduce, width, 2 * width, self.act), (before,))
                before, width = f"reduce{stage}", 2 * width
            for cell in range(1, cells + 1):
                yield from self._cell(f"cell{stage}_{cell}", width, before)
                before = f"cell{stage}_{cell}_node3"
        yield Layer("norm", partial(nn.BatchNorm2d, width))
        yield Layer("act", ACTIVATIONS[self.act])
        yield Layer("classify", partial(Classifier, width, self.options.num_classes))

    def _cell(self, name: str, width: int, before: str):
        """The layers of one cell: an edge each, and the sums at its nodes 2 and 3."""
        nodes = {0: before}
        for node in (1, 2, 3):
            edges = []
            for source in range(node):
                edges.append(f"{name}_{source}to{node}")
                yield self._edge(edges[-1], width, f"{source}→{node}", nodes[source])
            nodes[node] = f"{name}_node{node}"
            yield Layer(nodes[node], Add, tuple(edges))

    def _edge(self, name: str, width: int, decision: str, source: str) -> Slot:
        conv = partial(ActConvBN, width, width, act=self.act, squeeze_excite=self.options.squeeze_excite)
        makers = {
            "none": Zero,
            "skip_connect": nn.Identity,
            "nor_conv_1x1": partial(conv, 1),
            "nor_conv_3x3": partial(conv, 3),
            "avg_pool_3x3": partial(nn.AvgPool2d, 3, 1, 1, count_include_pad=False),
        }
        return choice(name, {op: makers[op] for op in self.operations}, decision, (source,))
