"""Match the tensors of a weights file with those of a classifier, by their names or by their order and shapes.

A file fits only if it has every tensor that the backbone uses, in the right shape. Only tensors outside the trunk, such
as a classifier's last layer, a projection head or a second copy of the network, may be left over.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from torch import Tensor

from maskpencil.errors import ModelError
from maskpencil.models.backbones.origin import Origin
from maskpencil.models.backbones.weights import COUNTS, listed, refuse_misfit

_PREFERRED = ("ema", "teacher", "encoder_q", "base_encoder", "online", "query", "student")
"""Words in the prefixes of tensors, by which one of several networks in a file is chosen; the most preferred first.

The moving average and the teacher score better than the network they follow; MoCo's own transfer takes `encoder_q`.
"""

_SHORTCUTS = ("downsample", "shortcut", "skip", "identity")
"""Parts of the names of a residual block's shortcut, which by shape alone could pass for another convolution."""


@dataclass(frozen=True)
class Match:
    """The tensors of a file under the names of the classifier.

    Args:
        tensors: the classifier's names -> the tensors of the file.
        names: the classifier's names -> the names in the file.
        how: how the tensors were matched, as a text for the log.
        left: names of the file's tensors that are not used.
        prefix: the beginning of all matched names in the file, such as "module."; "" if they have no prefix.
        by_order: whether the tensors were matched by their order and shapes, not by their names.
    """

    tensors: Mapping[str, Tensor]
    names: Mapping[str, str]
    how: str
    left: Sequence[str]
    prefix: str = ""
    by_order: bool = False

    @property
    def table(self) -> list[str]:
        """A line of text for each matched tensor: its name in the classifier, its name in the file and its shape."""
        width = max(map(len, self.names), default=0)
        return [f"{ours:<{width}}  {self.names[ours]}  {tuple(self.tensors[ours].shape)}" for ours in self.names]


@dataclass(frozen=True)
class Loaded:
    """The record of loading pretrained weights into a classifier.

    Args:
        origin: where the weights come from.
        match: which tensors of the file were loaded.
        lacks_fully_connected: whether fc6 and fc7 were left out, because the file has none.
        kind: the kind of file, see `checkpoints.ClassifierFile`.
        note: a text for the log, see `checkpoints.ClassifierFile.note`.
    """

    origin: Origin
    match: Match
    lacks_fully_connected: bool = False
    kind: str = "torch"
    note: str = ""

    @property
    def notes(self) -> list[str]:
        """Lines for the log: how many tensors were matched, in which way, and which tensors were not used."""
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
        found: the tensors of the file by name.
        wanted: the tensors that the backbone uses, by the classifier's names and in the classifier's order; may be on
            the meta device.
        unused: the names of the classifier's other tensors, which come after all wanted tensors in the classifier.
        namings: for each other library, the classifier's names -> that library's names of the same tensors.
        source: the path of the file, for errors. If it ends in .safetensors, tensors are not matched by order, since
            such files are sorted by type and name.
        expected: the network to which the tensors should belong, for errors.

    Raises:
        ModelError: the file does not fit, or several networks in it fit and none of them is preferred.
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
    raise AssertionError("internal error: refuse_misfit accepted tensors that do not fit")


@dataclass(frozen=True)
class _Attempt(Match):
    strays: Sequence[str] = ()


def _by_name(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, unused: Sequence[str], naming: Mapping[str, str]
) -> Iterable[_Attempt]:
    """Yield a match by name, complete or not, for each prefix that the names in the file may have.

    A prefix is what precedes the first or the last wanted name in a name of the file, see `_probes`. Yield nothing if
    `naming` lacks a wanted name.
    """
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
    """Return the first and the last wanted name, which reveal prefixes; two, since the file may lack one of them."""
    names = [name for name in wanted if not name.endswith(COUNTS)]
    return names[:1] + names[-1:]


def found_order(found: Mapping[str, Tensor], prefix: str) -> list[str]:
    """Return the names that begin with a prefix, without this prefix, in the order of the file."""
    return [name.removeprefix(prefix) for name in found if name.startswith(prefix)]


def _shared(attempt: _Attempt, wanted: Mapping[str, Tensor]) -> int:
    """Count the wanted tensors that an attempted match has in the right shape."""
    return sum(tensor.shape == wanted[ours].shape for ours, tensor in attempt.tensors.items())


def _shaped(tensor: Tensor, wanted: Tensor) -> Tensor:
    """Flatten the weights (O, C, h, w) of a convolution to (O, C * h * w) if `wanted` is a fully connected layer's."""
    return tensor.flatten(1) if (tensor.ndim, wanted.ndim) == (4, 2) else tensor


def _fits(attempt: _Attempt, wanted: Mapping[str, Tensor]) -> bool:
    """Return whether an attempted match has every wanted tensor in the right shape, and no unexpected tensors."""
    return not attempt.strays and all(
        ours.endswith(COUNTS) if ours not in attempt.tensors else attempt.tensors[ours].shape == tensor.shape
        for ours, tensor in wanted.items()
    )


def _by_order(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, unused: Sequence[str]
) -> Iterable[_Attempt]:
    """Yield a match for each prefix under which the file has tensors of the classifier's shapes in the same order."""
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
    """Return whether layers are matched one to one, and in each layer weight with weight, bias with bias, and so on."""
    layers: dict[str, str] = {}
    for ours, theirs in names.items():
        (layer, _, leaf), (other, _, other_leaf) = ours.rpartition("."), theirs.rpartition(".")
        if leaf != other_leaf or layers.setdefault(layer, other) != other:
            return False
    return len({*layers.values()}) == len(layers)


def _same_shortcuts(names: Mapping[str, str]) -> bool:
    """Return whether shortcuts match only shortcuts; True if no name in the file is that of a shortcut."""
    pairs = [(_is_shortcut(ours), _is_shortcut(theirs)) for ours, theirs in names.items()]
    return not any(theirs for _, theirs in pairs) or all(ours == theirs for ours, theirs in pairs)


def _is_shortcut(name: str) -> bool:
    return any(part in name.lower() for part in _SHORTCUTS)


def _chosen(fitting: Sequence[_Attempt], source: str) -> Match:
    """Return the only match, or, if several networks in the file fit, the preferred match, see `_PREFERRED`.

    Raises:
        ModelError: several networks fit, and none of them is preferred.
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
