"""Match the tensors of a weights file with those of a classifier, by their names or by their order and shapes.

A file fits whole or not at all: every tensor that the backbone uses must be there in its shape. Only tensors outside
the trunk, such as a classifier's last layer, a projection head or a second copy of the network, may be left over.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from torch import Tensor

from maskpencil.errors import ModelError
from maskpencil.models.backbones.origin import Origin
from maskpencil.models.backbones.weights import COUNTS, listed, refuse_misfit

_PREFERRED = ("ema", "teacher", "encoder_q", "base_encoder", "online", "query", "student")
"""Which of several networks in a file is taken: a part of its prefix, the most preferred first.

The moving average and the teacher score better than the network they follow; MoCo's own transfer takes `encoder_q`.
"""

_SHORTCUTS = ("downsample", "shortcut", "skip", "identity")
"""Parts of the names of a residual block's shortcut, which by shape alone could pass for another convolution."""


@dataclass(frozen=True)
class Match:
    """The tensors of a file under the names of the classifier.

    Args:
        tensors: ours -> tensor.
        names: ours -> theirs.
        how: how they were matched, for the log.
        left: names of the file's tensors that are not used.
        prefix: what their names begin with.
        by_order: whether they were matched by their order and shapes.
    """

    tensors: Mapping[str, Tensor]
    names: Mapping[str, str]
    how: str
    left: Sequence[str]
    prefix: str = ""
    by_order: bool = False

    @property
    def table(self) -> list[str]:
        """A line for each tensor: our name, theirs and the shape."""
        width = max(map(len, self.names), default=0)
        return [f"{ours:<{width}}  {self.names[ours]}  {tuple(self.tensors[ours].shape)}" for ours in self.names]


@dataclass(frozen=True)
class Loaded:
    """What was loaded into a classifier.

    Args:
        origin: where the weights come from.
        match: which tensors they are.
        lacks_fully_connected: whether fc6 and fc7 were left out, because the file has none.
        kind: the kind of file, see `checkpoints.ClassifierFile`.
        note: what was chosen from the file, for the log; or "".
    """

    origin: Origin
    match: Match
    lacks_fully_connected: bool = False
    kind: str = "torch"
    note: str = ""

    @property
    def notes(self) -> list[str]:
        """Lines for the log."""
        chosen = f", {self.note}" if self.note else ""
        left = f"; not used: {listed(self.match.left)}" if self.match.left else ""
        lines = [f"{len(self.match.names)} tensors matched {self.match.how}{chosen}{left}"]
        if self.lacks_fully_connected:
            lines.append("the weights have no fully connected layers: the network is as with --fully-connected false")
        return lines


def match(
    found: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    *,
    unused: Iterable[str],
    namings: Sequence[Mapping[str, str]],
    source: str,
    expected: str,
) -> Match:
    """Match the tensors of a file with those that a backbone uses.

    Args:
        found: the tensors of the file.
        wanted: the tensors that the backbone uses, under the classifier's names, in its order; may be on the meta
            device.
        unused: names of the classifier's other tensors, in its order; all come after those of the trunk.
        namings: other libraries' names, ours -> theirs; the classifier's own names need none.
        source: the file, for errors; tensors are matched by order only if its format keeps it.
        expected: the network to which the tensors should belong, for errors.

    Raises:
        ModelError: the file does not fit.
    """
    unused = list(unused)
    own = {name: name for name in (*wanted, *unused)}
    attempts = [
        attempt for naming in (own, *namings) for attempt in _by_name(found, wanted, unused=unused, naming=naming)
    ]
    fitting = [attempt for attempt in attempts if _fits(attempt, wanted)]
    if not fitting and PurePath(source).suffix != ".safetensors":  # these are sorted by type and name
        fitting = list(_by_order(found, wanted, unused=unused))
    if fitting:
        return _chosen(fitting, source)
    best = max(attempts, key=lambda attempt: _shared(attempt, wanted), default=None)
    if best and 4 * _shared(best, wanted) < len(wanted):
        best = None  # another network, of which a few names agree by chance
    tensors = {name: tensor for name, tensor in best.tensors.items() if not name.endswith(COUNTS)} if best else {}
    strays = {name: found[name] for name in (best.strays if best else found)}
    shown = {name: tensor for name, tensor in wanted.items() if not name.endswith(COUNTS)}
    refuse_misfit(shown, tensors | strays, unused=(), source=source, expected=expected)
    raise AssertionError("a file that does not fit was not refused")


@dataclass(frozen=True)
class _Attempt(Match):
    strays: Sequence[str] = ()


def _by_name(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, unused: Sequence[str], naming: Mapping[str, str]
) -> Iterable[_Attempt]:
    """Yield an attempt for each prefix under which the file has a tensor of the first name."""
    theirs = {ours: naming[ours] for ours in wanted if ours in naming}
    if len(theirs) < len(wanted):
        return
    head = {naming[name] for name in unused if name in naming}
    layers = {name.partition(".")[0] for name in theirs.values()}
    prefixes = {
        name.removesuffix(probe)
        for probe in (theirs[ours] for ours in _probes(wanted))
        for name in found
        if name == probe or name.endswith(f".{probe}")
    }
    for prefix in sorted(prefixes, key=len):
        names = {ours: prefix + name for ours, name in theirs.items() if prefix + name in found}
        inside = {name.removeprefix(prefix) for name in found if name.startswith(prefix)}
        strays = [
            prefix + name
            for name in found_order(found, prefix)
            if name in inside - {*theirs.values()} - head and name.partition(".")[0] in layers
        ]
        used = {*names.values()}
        shown = f"by name under the prefix {prefix!r}" if prefix else "by name"
        yield _Attempt(
            tensors={ours: _shaped(found[name], wanted[ours]) for ours, name in names.items()},
            names=names,
            how=shown,
            left=[name for name in found if name not in used],
            prefix=prefix,
            strays=strays,
        )


def _probes(wanted: Mapping[str, Tensor]) -> Sequence[str]:
    """Return the names by which prefixes are found: the first and the last, in case that one of both is missing."""
    names = [name for name in wanted if not name.endswith(COUNTS)]
    return names[:1] + names[-1:]


def found_order(found: Mapping[str, Tensor], prefix: str) -> list[str]:
    """Return the names below a prefix, without it, in the order of the file."""
    return [name.removeprefix(prefix) for name in found if name.startswith(prefix)]


def _shared(attempt: _Attempt, wanted: Mapping[str, Tensor]) -> int:
    """Count the wanted tensors that an attempt has in their shapes."""
    return sum(tensor.shape == wanted[ours].shape for ours, tensor in attempt.tensors.items())


def _shaped(tensor: Tensor, wanted: Tensor) -> Tensor:
    """Return the weights of a fully connected layer that was stored as a convolution in their own form."""
    return tensor.flatten(1) if (tensor.ndim, wanted.ndim) == (4, 2) else tensor


def _fits(attempt: _Attempt, wanted: Mapping[str, Tensor]) -> bool:
    """Return whether an attempt has every wanted tensor in its shape, and no stray one."""
    return not attempt.strays and all(
        ours.endswith(COUNTS) if ours not in attempt.tensors else attempt.tensors[ours].shape == tensor.shape
        for ours, tensor in wanted.items()
    )


def _by_order(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, unused: Sequence[str]
) -> Iterable[_Attempt]:
    """Yield the matches of all tensors below a prefix with the classifier's, one by one in their order."""
    ours = [name for name in wanted if not name.endswith(COUNTS)]
    head = [name for name in unused if not name.endswith(COUNTS)]
    prefixes = {"", *(".".join(name.split(".")[:depth]) + "." for name in found for depth in range(1, name.count(".")))}
    for prefix in sorted(prefixes, key=len):
        theirs = [prefix + name for name in found_order(found, prefix) if not name.endswith(COUNTS)]
        if len(theirs) not in (len(ours), len(ours) + len(head)):
            continue
        names = dict(zip(ours, theirs, strict=False))
        if (
            all(found[names[name]].shape == wanted[name].shape for name in ours)
            and _same_layers(names)
            and _same_shortcuts(names)
        ):
            used = {*names.values()}
            yield _Attempt(
                tensors={name: found[names[name]] for name in ours},
                names=names,
                how="by order and shape" + (f" under the prefix {prefix!r}" if prefix else ""),
                left=[name for name in found if name not in used and not name.endswith(COUNTS)],
                prefix=prefix,
                by_order=True,
            )


def _same_layers(names: Mapping[str, str]) -> bool:
    """Return whether the tensors of one layer belong to one layer on the other side, as weight, bias and so on."""
    layers: dict[str, str] = {}
    for ours, theirs in names.items():
        (layer, _, leaf), (other, _, other_leaf) = ours.rpartition("."), theirs.rpartition(".")
        if leaf != other_leaf or layers.setdefault(layer, other) != other:
            return False
    return len({*layers.values()}) == len(layers)


def _same_shortcuts(names: Mapping[str, str]) -> bool:
    """Return whether shortcuts, where the file names any, are shortcuts on both sides."""
    pairs = [(_is_shortcut(ours), _is_shortcut(theirs)) for ours, theirs in names.items()]
    return not any(theirs for _, theirs in pairs) or all(ours == theirs for ours, theirs in pairs)


def _is_shortcut(name: str) -> bool:
    return any(part in name.lower() for part in _SHORTCUTS)


def _chosen(fitting: Sequence[_Attempt], source: str) -> Match:
    """Return the match to use: the only one, or the preferred one of several networks in the file.

    Raises:
        ModelError: it is not clear which.
    """
    different = list({frozenset(one.names.values()): one for one in reversed(fitting)}.values())
    if len(different) == 1:
        return different[0]
    for word in _PREFERRED:
        preferred = [one for one in different if word in one.prefix.replace(".", " ").split()]
        if len(preferred) == 1:
            return preferred[0]
    shown = listed(sorted(one.prefix or "no prefix" for one in different))
    raise ModelError(f"{source}: holds several networks that fit (under {shown}); save the tensors of one of them")
