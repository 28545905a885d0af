"""What is found about a metric: each reason to refuse it or to doubt it, in words for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from ff_assets.core.buckets import describe as shown
from ff_assets.core.declare import describe
from ff_assets.core.errors import Location, shortened
from ff_assets.core.fitting import Fitting
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


@dataclass(frozen=True)
class Choice(Judged):
    """The choice of the champion that a variant is reported as, judged by what it learned from."""

    @property
    def title(self) -> str:
        return "the choice of the champion"

    @property
    def evaluation(self) -> str:
        return f"the choice among the variants of {self.variant.target.name}"

    def on(self, cell: str) -> str:
        chosen = self.variant.target.select_on
        return f"the choice on {chosen} of what is reported on {cell}"


def route(path: Sequence[Instance], end: str) -> str:
    """A path in words, without the middle where it is long."""
    return " -> ".join([*shortened(instance.name for instance in path), end])


def overlap(
    judged: Judged, cell: str, path: tuple[Instance, ...], rows: int, *, labels: bool, own: bool
) -> Finding:
    """Rows of the evaluated part were read by a fit behind the prediction.

    Args:
        labels: whether their labels were.
        own: whether that fit's output is applied to these rows; if it is not, it has reached them
            through what later stages were trained on.
    """
    blamed = path[0]
    what = "labels and features" if labels else "features"
    is_own = blamed is judged.instance
    reads = "; ".join(f"{fit.name or 'the fit'} read {shown(fit.region)}" for fit in blamed.fits)
    evidence = f"buckets {shown(rows)} of {cell} are among what it read ({reads})"
    where = f"path: {route(path, judged.on(cell))}"
    if not own:
        return Finding(
            "TRANSITIVE_TAINT",
            f"{what} of {cell} reach its own prediction through `{blamed.name}`, which "
            "later stages were trained with.",
            f"{evidence}; the models for {cell} were trained on its values for other rows\n{where}",
            "certify test, which single-level folds leave untouched; or use, throughout the chain, "
            "nested folds, .cross_fit(5, nested=True), or ordered blocks, "
            ".cross_fit(..., ordered=True).",
            path,
            rows,
        )
    return Finding(
        "FIT_OVERLAP" if labels else "FIT_OVERLAP_X",
        f"`{blamed.name}` was fitted on {what} of {cell}, and "
        + (f"is itself {judged.title}." if is_own else f"its output reaches {judged.title}."),
        f"{evidence}\n{where}",
        _refit(blamed, cell)
        + ("" if labels else ", or accept it as a warning with LeakPolicy(transductive='warn')")
        + ".",
        path,
        rows,
    )


def overlap_of_choice(
    choice: Choice, cell: str, path: tuple[Instance, ...], rows: int, *, labels: bool
) -> Finding:
    """Rows of the evaluated part were read by a fit behind predictions that are compared.

    Args:
        labels: whether their labels were.
    """
    blamed, chosen = path[0], choice.variant.target.select_on
    what = "labels and features" if labels else "features"
    reads = "; ".join(f"{fit.name or 'the fit'} read {shown(fit.region)}" for fit in blamed.fits)
    refit = blamed.stage.fitting.cells != Fitting().cells
    return Finding(
        "TRANSITIVE_TAINT",
        f"{what} of {cell} reach the choice of the champion through `{blamed.name}`, which "
        f"predictions for {chosen} are made with.",
        f"the choice is a fit by the metric on {chosen}, and buckets {shown(rows)} of {cell} are "
        f"among what `{blamed.name}` read ({reads})\npath: {route(path, choice.on(cell))}",
        f"{_refit(blamed, cell)}."
        if refit
        else f"report on test, or on another part that no fit behind the predictions for {chosen} "
        "has read.",
        path,
        rows,
    )


def _refit(blamed: Instance, cell: str) -> str:
    if blamed.stage.fitting.cells != Fitting().cells:
        cells = ", ".join(map(repr, blamed.stage.fitting.cells))
        return f"fit `{blamed.name}` on train only: leave out .fit_on({cells})"
    if cell == "train":
        return "certify test, which no fit has read"
    return f"cross-fit `{blamed.name}`: .cross_fit(5)"


def shown_in_sample(judged: Judged, path: tuple[Instance, ...], rows: int) -> Finding:
    """Rows of test were read by a fit, and nobody asks for a certificate of the metric there."""
    return Finding(
        "FIT_OVERLAP",
        f"`{path[0].name}` was fitted on rows of test, by which {judged.variant.name} is shown and "
        "compared whatever is certified.",
        f"a metric there tells how well it remembers\npath: {route(path, judged.on('test'))}",
        f"{_refit(path[0], 'test')}; to learn from these rows, give them to another part of the "
        "split.",
        path,
        rows,
    )


def transductive(judged: Judged, cell: str, path: tuple[Instance, ...], rows: int) -> Finding:
    """Features of evaluated rows were read by a fit, and the policy lets that pass."""
    return Finding(
        "TRANSDUCTIVE",
        f"`{path[0].name}` was fitted on features, though on no label, of {cell}.",
        f"buckets {shown(rows)}; path: {route(path, judged.on(cell))}",
        "fit it on train only for grade A.",
        path,
        rows,
    )


def unknown(judged: Judged, cell: str, path: tuple[Instance, ...]) -> Finding:
    """A pre-trained model of which nothing is known."""
    return Finding(
        "UNKNOWN_FITSET",
        f"nobody says which rows `{path[0].name}` was fitted on.",
        f"it may have read {cell}\npath: {route(path, judged.on(cell))}",
        "say what is known: pretrained(..., attested=Attested('trained on ... only')).",
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
            "fit it under the project's own split.",
            path,
        )
    return Finding(
        "SPLIT_KEY_INCOMPARABLE",
        f"`{path[0].name}` was fitted on rows of `{space.root}`, to which no relation leads from "
        f"`{variant.entity.name}`.",
        f"so nobody can tell which of them belong to {cell}\n{trail}",
        f"declare how rows belong together: Entity({variant.entity.name!r}, ..., "
        f"parent={space.root}, foreign_key=...).",
        path,
    )


def future(judged: Judged, cell: str, path: tuple[Instance, ...], day: date) -> Finding:
    """A fit has read what happened during or after the evaluated days."""
    return Finding(
        "FUTURE_FIT",
        f"`{path[0].name}` was fitted on data of {cell}'s first day, {day}, or later.",
        f"path: {route(path, judged.on(cell))}",
        "fit it on earlier data, or let the evaluation begin later: TimeSplit(cutoff=...).",
        path,
    )


def embargo(
    judged: Judged, cell: str, path: tuple[Instance, ...], delay: int, known: date, first: date
) -> Finding:
    """Labels were used that nobody knew when the evaluated days began."""
    return Finding(
        "EMBARGO_TOO_SHORT",
        f"`{path[0].name}` was fitted on labels that were known only on {known}, when {cell} had "
        f"begun on {first}.",
        f"labels are known {delay} days after the event (label_horizon of their source)\n"
        f"path: {route(path, judged.on(cell))}",
        f"keep that distance: TimeSplit(..., embargo='{delay}d').",
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
        f"{mixing.why}\npath: {route(path, judged.evaluation)}",
        "use @aggregate for sums over rows of a finer entity, or an estimator, whose fit is on "
        "train only.",
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
    return Finding(
        "OOF_REQUIRED",
        f"`{reader.name}` is trained on `{path[0].name}`, which has seen the labels of the same "
        "rows.",
        f"buckets {shown(rows)}: there it looks better than it is on new rows, so `{reader.name}` "
        f"trusts it too much; the metric on test is true\npath: {route(path[:-1], reader.name)}",
        f"let `{path[0].name}` be .cross_fit(5), or fit both on .slices(...) of train.",
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
