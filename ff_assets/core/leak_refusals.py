"""What is found about a metric: each reason to refuse it or to doubt it, in words for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from ff_assets.core.accounts import pretrained
from ff_assets.core.buckets import describe as shown
from ff_assets.core.declare import describe
from ff_assets.core.errors import Location, shortened
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.rowwise import Mixing
from ff_assets.core.split import Space, Split


@dataclass(frozen=True)
class Finding:
    """One reason to refuse a metric, or to doubt it.

    Attributes:
        code: such as `FIT_OVERLAP`.
        text: one sentence.
        why: the evidence.
        fix: what to do about it.
        path: the instances from what is to blame to the prediction, in this order.
        overlap: evaluated buckets that are to blame, as a bitmap.
        where: declarations that are involved; those at both ends of the path by default.
    """

    code: str
    text: str
    why: str
    fix: str
    path: tuple[Instance, ...] = ()
    overlap: int = 0
    where: tuple[tuple[str, Location], ...] = ()

    @property
    def places(self) -> tuple[tuple[str, Location], ...]:
        """The declarations to look at."""
        ends = dict.fromkeys(self.path[:1] + self.path[-1:])
        return self.where or tuple(describe(instance.provider) for instance in ends)

    def as_dict(self) -> dict[str, object]:
        """The same as plain values."""
        return {
            "code": self.code,
            "text": self.text,
            "why": self.why,
            "fix": self.fix,
            "path": [instance.name for instance in self.path],
            "overlap": shown(self.overlap),
        }


@dataclass(frozen=True)
class Judged:
    """An output of a variant; its target's first one is the prediction that is measured."""

    variant: Variant
    output: str

    @property
    def instance(self) -> Instance:
        return self.variant.features[self.output]

    @property
    def title(self) -> str:
        is_first = self.output == self.variant.target.outputs[0]
        return "the prediction" if is_first else f"the output `{self.output}`"

    @property
    def evaluation(self) -> str:
        is_first = self.output == self.variant.target.outputs[0]
        return f"{'the evaluation' if is_first else self.title} of {self.variant.name}"

    def on(self, cell: str) -> str:
        """What is judged about a part of the data."""
        is_first = self.output == self.variant.target.outputs[0]
        return f"{'the metric' if is_first else self.title} of {self.variant.name} on {cell}"

    def overlap(
        self, cell: str, path: tuple[Instance, ...], rows: int, *, labels: bool, own: bool
    ) -> Finding:
        """Rows of the evaluated part were read by a fit behind it.

        Args:
            labels: whether their labels were.
            own: whether that fit's output is applied to these rows; if it is not, it has reached
                them through what later stages were trained on.
        """
        blamed, what = path[0], "labels and features" if labels else "features"
        evidence = f"buckets {shown(rows)} of {cell} are among what it read ({read_by(blamed)})"
        where = f"path: {route(path, self.on(cell))}"
        if not own:
            return Finding(
                "TRANSITIVE_TAINT",
                f"{what} of {cell} reach its own prediction through `{blamed.name}`, which "
                "later stages were trained with.",
                f"{evidence}; the models for {cell} were trained on its values for other rows\n"
                f"{where}",
                "certify test, which single-level folds leave untouched; or use, throughout the "
                "chain, nested folds, .cross_fit(5, nested=True), or ordered blocks, "
                ".cross_fit(..., ordered=True).",
                path,
                rows,
            )
        reaches = "is itself" if blamed is self.instance else "its output reaches"
        return Finding(
            "FIT_OVERLAP" if labels else "FIT_OVERLAP_X",
            f"`{blamed.name}` was fitted on {what} of {cell}, and {reaches} {self.title}.",
            f"{evidence}\n{where}",
            f"{refit(blamed, cell)}{'' if labels else OPT_IN}.",
            path,
            rows,
        )

    def future(self, cell: str, path: tuple[Instance, ...], first: date) -> Finding:
        """A fit behind it has read what happened during or after the evaluated days."""
        return Finding(
            "FUTURE_FIT",
            f"`{path[0].name}` was fitted on data of {cell}'s first day, {first}, or later.",
            f"path: {route(path, self.on(cell))}",
            "fit it on earlier data, or let the evaluation begin later: TimeSplit(cutoff=...)."
            if pretrained(path[0]) or path[0].stage.fitting.is_on_train
            else f"{refit(path[0], cell)}.",
            path,
        )

    def embargo(
        self, cell: str, path: tuple[Instance, ...], delay: int, known: date, first: date
    ) -> Finding:
        """A fit behind it used labels that nobody knew when the evaluated days began."""
        return Finding(
            "EMBARGO_TOO_SHORT",
            f"`{path[0].name}` was fitted on labels that were known only on {known}, when {cell} "
            f"had begun on {first}.",
            f"labels are known {delay} days after the event (label_horizon of their source)\n"
            f"path: {route(path, self.on(cell))}",
            f"keep that distance: TimeSplit(..., embargo='{delay}d').",
            path,
        )


TRANSDUCTIVE = "TRANSDUCTIVE"
DOUBTS = (TRANSDUCTIVE, "ATTESTED")  # found about a part, but no reason to refuse it
OPT_IN = ", or accept it as a warning with LeakPolicy(transductive='warn')"


def route(path: Sequence[Instance], end: str) -> str:
    """A path in words, without the middle where it is long."""
    return " -> ".join([*shortened(instance.name for instance in path), end])


def read_by(blamed: Instance) -> str:
    """The rows that each fit of a stage has read, in words."""
    return "; ".join(f"{fit.name or 'the fit'} read {shown(fit.region)}" for fit in blamed.fits)


def refit(blamed: Instance, cell: str) -> str:
    """How a stage is fitted without the rows of a part."""
    if pretrained(blamed):
        return f"use a model that has not read {cell}, or a split whose {cell} it has not read"
    if not blamed.stage.fitting.is_on_train:
        cells = ", ".join(map(repr, blamed.stage.fitting.cells))
        return f"fit `{blamed.name}` on train only: leave out .fit_on({cells})"
    if cell == "train":
        return "certify test, which no fit has read"
    how = "ordered=True" if cell.startswith("block") else "nested=True"
    return f"cross-fit `{blamed.name}` and what reads it: .cross_fit(5, {how})"


def transductive(judged: Judged, cell: str, path: tuple[Instance, ...], rows: int) -> Finding:
    """Features of evaluated rows were read by a fit, and the policy lets that pass."""
    return Finding(
        TRANSDUCTIVE,
        f"`{path[0].name}` was fitted on features, though on no label, of {cell}.",
        f"buckets {shown(rows)}; path: {route(path, judged.on(cell))}",
        "fit it on train only for grade A.",
        path,
        rows,
    )


def unknown(judged: Judged, cell: str, path: tuple[Instance, ...]) -> Finding:
    """A pre-trained model of which nothing is known, or nothing that the split asks for."""
    model = pretrained(path[0])
    until = model.attested.until if model and model.attested else None
    why = "" if until is None else f"it was fitted up to {until}, a day that tells of no keys; "
    return Finding(
        "UNKNOWN_FITSET",
        f"nobody says which rows `{path[0].name}` was fitted on.",
        f"{why}it may have read {cell}\npath: {route(path, judged.on(cell))}",
        "say what is known: pretrained(..., attested=Attested('trained on ... only'))."
        if until is None
        else "say which keys it has read, Attested(..., buckets=...), or split by time: "
        "TimeSplit(cutoff=...).",
        path,
    )


def attested(judged: Judged, cell: str, path: tuple[Instance, ...], statement: str) -> Finding:
    """A pre-trained model of which somebody states something."""
    return Finding(
        "ATTESTED",
        f"that `{path[0].name}` has not read {cell} rests on a statement: {statement}",
        f"path: {route(path, judged.on(cell))}",
        "fit the model within the project for grade A.",
        path,
    )


def incomparable(
    judged: Judged, cell: str, path: tuple[Instance, ...], space: Space, *, related: bool
) -> Finding:
    """Buckets of another space are behind the prediction.

    Args:
        related: whether every evaluated row has a key of that space.
    """
    variant = judged.variant
    ours = variant.split.space(variant.entity)
    trail = f"path: {route(path, judged.on(cell))}"
    if related:
        return Finding(
            "POLICY_MISMATCH",
            f"`{path[0].name}` was fitted on buckets of another split than {variant.name}'s.",
            f"its buckets are of `{space.root}` by {space.axis!r}, {cell} is of "
            f"`{ours.root or 'time'}` by {ours.axis!r}; equal numbers are not equal rows\n{trail}",
            "say up to which day it was fitted, Attested(..., until=...), or fit it in the project."
            if not ours.root
            else "if they are buckets of this split, say so with its salt, Attested(..., salt="
            f"{ours.axis!r}); if they are the project's, let the target have the project's split; "
            "or fit it in the project.",
            path,
        )
    return Finding(
        "SPLIT_KEY_INCOMPARABLE",
        f"`{path[0].name}` was fitted on rows of `{space.root}`, to which no relation leads from "
        f"`{variant.entity.name}`.",
        f"so nobody can tell which of them belong to {cell}\n{trail}",
        f"declare how rows belong together: Entity({variant.entity.name!r}, ..., "
        f"parent={space.root}, foreign_key=...)."
        if ours.root
        else "say up to which day it was fitted, Attested(..., until=...).",
        path,
    )


def serve_only(judged: Judged, path: tuple[Instance, ...]) -> Finding:
    """A production refit feeds an evaluation."""
    return Finding(
        "SERVE_ONLY_UPSTREAM",
        f"`{path[0].name}` is for serving only, and {judged.evaluation} reads it.",
        f"path: {route(path, judged.evaluation)}",
        "evaluate a stage without .serve_only(), and score with a target without label.",
        path,
    )


def row_mixing(judged: Judged, path: tuple[Instance, ...], mixing: Mixing) -> Finding:
    """A row-wise stage computes with other rows."""
    return Finding(
        "ROW_MIXING_AS_TRANSFORMER",
        f"`{path[0].name}` is declared as row-wise, but uses {mixing.what}.",
        f"{mixing.reason.why}\npath: {route(path, judged.evaluation)}",
        f"{mixing.reason.fix}.",
        path,
        where=((mixing.what, mixing.location), describe(path[0].provider)),
    )


def unaligned(judged: Judged, path: tuple[Instance, ...]) -> Finding:
    """Outputs of several fits are mixed that mean something else in each."""
    title = path[0].stage.operation.title
    return Finding(
        "UNALIGNED_OOF",
        f"`{path[0].name}` is cross-fitted, but the outputs of {title} differ in meaning from fit "
        "to fit.",
        f"cluster 3 of one fit is not cluster 3 of another\npath: {route(path, judged.evaluation)}",
        "fit it once on train: leave .cross_fit(...) out.",
        path,
    )


def no_prediction(variant: Variant, cell: str, why: str, fix: str) -> Finding:
    """The requested part of the data has no honest prediction at all."""
    return Finding(
        "NO_PREDICTION",
        f"no row of {cell} has a prediction.",
        why,
        fix,
        (variant.prediction,),
    )


def oof_required(reader: Instance, path: tuple[Instance, ...], rows: int) -> Finding:
    """An estimator is trained on features that have seen their rows' own labels."""
    seen, fitting = path[0], path[0].stage.fitting
    instead = f"let `{seen.name}` be .cross_fit(5), or fit both on .slices(...) of train."
    if fitting.scheme == "slice":
        others = " or ".join(
            f".slices({k + 1}, of={fitting.count})"
            for k in range(fitting.count)
            if k != fitting.index
        )
        instead = f"fit `{reader.name}` on a slice that `{seen.name}` has not read: {others}."
    return Finding(
        "OOF_REQUIRED",
        f"`{reader.name}` is trained on `{seen.name}`, which has seen the labels of the same rows.",
        f"buckets {shown(rows)}: there it looks better than it is on new rows, and what "
        f"`{reader.name}` learns is true of these rows only; the metric on test is true\n"
        f"path: {route(path[:-1], reader.name)}",
        instead,
        path,
        rows,
    )


def in_sample(path: tuple[Instance, ...], feature: str, rows: int) -> Finding:
    """Values come from a fit that has read the labels of their very rows."""
    return Finding(
        "IN_SAMPLE",
        f"`{path[0].name}` was fitted on the labels of the same rows.",
        f"buckets {shown(rows)}: there it looks better than it is on new rows, to a model as well "
        f"as in a metric\npath: {route(path, f'`{feature}`')}",
        f"read other rows (cell='test'), or let `{path[0].name}` be .cross_fit(5).",
        path,
        rows,
    )


def depth_taint(reader: Instance, path: tuple[Instance, ...], rows: int) -> Finding:
    """Single-level folds do not reach through two stages."""
    return Finding(
        "DEPTH_TAINT",
        f"`{reader.name}` is trained on features in which `{path[0].name}` tells of the rows' own "
        "labels, through the training of stages in between.",
        f"buckets {shown(rows)}: single-level folds keep one stage out of sample, not two\npath: "
        f"{route(path[:-1], reader.name)}",
        "use disjoint slices of train for the stages of the chain, .slices(1, of=3) and so on; or "
        "nested folds, .cross_fit(5, nested=True), which take more fits; or, with a time axis, "
        "ordered blocks: .cross_fit(..., ordered=True).",
        path,
        rows,
    )


def stale_policy(what: str, recorded: Mapping[str, object], split: Split) -> Finding | None:
    """Whether something stored was made under another split policy than the present one.

    Args:
        what: names it, such as ``"model `segments`"``.
        recorded: the policy in its record or certificate, as `Split.describe` gave it.
    """
    present = split.describe()
    if recorded == present:
        return None
    edited = [key for key in present if recorded.get(key) != present[key]]
    return Finding(
        "STALE_POLICY",
        f"{what} was made under another split policy than the project's.",
        "; ".join(f"{key} was {recorded.get(key)!r} and is {present[key]!r}" for key in edited),
        "fit it again, or restore the policy.",
        where=(("the split policy", split.location),),
    )
