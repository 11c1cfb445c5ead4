"""The instance U-Net of SPINEPS (spineps.md, sections 5, 6 and 11): from a cutout of the semantic mask, coded one-hot,
to "above, this one, below".
"""

from .graph import Graph, Map, Sides

LEVELS = (1, 2, 4, 8)
"""Widths of the four levels in multiples of the width of the first."""
MULTIPLE_OF = 8
"""Sides of the input: each level but the last halves them."""
GROUPS = 8
"""Of every GroupNorm."""
CLASSES = ("background", "the vertebra above", "the vertebra at the centre", "the vertebra below")

_CUBE3: Sides = (3, 3, 3)
_CUBE4: Sides = (4, 4, 4)
_CUBE7: Sides = (7, 7, 7)
_ONE: Sides = (1, 1, 1)
_TWO: Sides = (2, 2, 2)


def build(graph: Graph, width: int, channels: int, sides: Sides) -> None:
    """Writes the network of first width `width`; input `labels`, output `logits`."""
    x = graph.conv(graph.input("labels", channels, sides), "init_conv", width, _CUBE7)
    first = x
    widths = [width, *(width * level for level in LEVELS)]
    last = len(LEVELS) - 1
    skips = []
    for level in range(len(LEVELS)):
        x = _two_blocks(graph, x, f"downs.{level}", widths[level + 1])
        skips.append(x)
        if level < last:
            x = graph.conv(x, f"downs.{level}.2", x.channels, _CUBE4, _TWO, padding=1)
    x = _block(graph, x, "mid_block1", widths[-1])
    x = _block(graph, x, "mid_block2", widths[-1])
    for step, level in enumerate(reversed(range(len(LEVELS)))):
        x = graph.halve(graph.add(x, skips[level], f"ups.{step}.sum"))
        x = _two_blocks(graph, x, f"ups.{step}", widths[level])
        if step < last:
            x = graph.up_conv(x, f"ups.{step}.2", x.channels, _CUBE4, _TWO, padding=1)
    x = _block(graph, graph.concat([x, first], "final.concat"), "final_res_block", width)
    x = graph.conv(x, "final_conv", len(CLASSES), _ONE)
    graph.output("logits", x.name, (x.channels, *x.sides))


def _two_blocks(graph: Graph, x: Map, path: str, channels: int) -> Map:
    return _block(graph, _block(graph, x, f"{path}.0", channels), f"{path}.1", channels)


def _block(graph: Graph, x: Map, path: str, channels: int) -> Map:
    """Residual: twice convolution, GroupNorm, LeakyReLU; the input beside them, projected when the width changes."""
    inner = x
    for half in ("block1", "block2"):
        inner = graph.conv(inner, f"{path}.{half}.proj", channels, _CUBE3)
        inner = graph.leaky_relu(graph.group_norm(inner, f"{path}.{half}.norm", GROUPS))
    beside = x if x.channels == channels else graph.conv(x, f"{path}.res_conv", channels, _ONE)
    return graph.add(inner, beside, f"{path}.sum")
