"""The models of one run: fitted on the rows that their fits may read, kept, and loaded again."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import RLock
from typing import TYPE_CHECKING, Any

from ff_assets.core.buckets import describe as describe_buckets
from ff_assets.core.cells import TRAIN
from ff_assets.core.errors import StageError
from ff_assets.core.fitting import WHOLE, Fit
from ff_assets.core.instance import Instance
from ff_assets.core.nesting import lessons
from ff_assets.core.refusals import describe
from ff_assets.engine.frames import Frames
from ff_assets.engine.measurable import refuse_unmeasurable
from ff_assets.engine.observed import observed, rows_by_bucket
from ff_assets.engine.plan import Plan
from ff_assets.engine.stages import class_name, load_model, missing_fit, refuse_mixing
from ff_assets.engine.store import Record, Staging, Store, fit_folder, size_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SIDE_BY_SIDE = 4  # Spark jobs of small fits leave cores idle between their tasks


class Models:
    """Fitted models by instance and name of the fit. Threads may ask for them and add to them.

    Args:
        spark: gives the run's session; called only if a model has to be loaded.
    """

    def __init__(
        self, plan: Plan, store: Store, staging: Staging, spark: Callable[[], "SparkSession"]
    ) -> None:
        self._plan = plan
        self._store = store
        self._staging = staging
        self._spark = spark
        self._fitted: dict[tuple[Instance, str], Any] = {}
        self._lock = RLock()

    def get(self, instance: Instance, fit: str) -> Any:
        """The model of one fit of an estimator, loaded from the store unless this run has made it.

        Raises:
            StageError: the store lacks it, so no other one takes its place.
        """
        with self._lock:
            if (instance, fit) not in self._fitted:
                fingerprint = self._plan.fingerprints[instance]
                record = self._store.model(fingerprint)
                assert record is not None
                path = self._store.model_path(fingerprint) / fit_folder(fit)
                if not path.is_dir():
                    raise missing_fit(instance, fit, path)
                self._spark()
                self._fitted[instance, fit] = load_model(path, record.details["class"])
            return self._fitted[instance, fit]

    def fit(self, instance: Instance, frames: Frames) -> Record:
        """Carry out all fits of an estimator, side by side, and store their models.

        Raises:
            StageError: no row of train has the label, a fit has no rows or would be given some
                that it may not read, or a model mixes rows.
            NoMetric: nothing that this run makes with it can have its metric.
        """
        self._refuse_unlabelled(instance)
        plan = self._plan
        refuse_unmeasurable(instance, plan.flow.variants, plan.todo, plan.fingerprints, self._store)
        began = time.monotonic()
        training = frames.training(instance)
        if len(instance.fits) > 1:
            training.persist()
        directory = self._staging.directory()

        def fit(one: Fit) -> tuple[str, Any]:
            model = frames.stage(instance).fit(frames.training_of(instance, one, training))
            refuse_mixing(instance, model)
            model.write().save(str(directory / fit_folder(one.name)))
            return one.name, model

        try:
            given = _given(instance, frames, training)
            with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="ff-fit") as pool:
                models = dict(pool.map(fit, instance.fits))
        finally:
            if len(instance.fits) > 1:
                training.unpersist()
        record = Record(
            fingerprint=self._plan.fingerprints[instance],
            seconds=time.monotonic() - began,
            size=size_of(directory),
            details={
                "class": class_name(models[WHOLE]),
                "fits": {fit.name: describe_buckets(fit.region) for fit in instance.fits},
                "observed": given,
            },
        )
        stored = self._staging.add_model(directory, record)
        if stored is record:  # else another run was faster, and all goes on with its model
            with self._lock:
                self._fitted |= {(instance, name): model for name, model in models.items()}
        return stored

    def _refuse_unlabelled(self, instance: Instance) -> None:
        label = instance.stage.operation.label
        provider = instance.fit_inputs.get(label) if label else None
        if provider is None or not provider.is_source:
            return
        record = self._store.table(self._plan.fingerprints[provider], TRAIN)
        if record is not None and record.details["labelled"].get(label) == 0:
            raise StageError(
                f"`{instance.name}` cannot be fitted: no row of train has the label `{label}`.",
                where=[describe(instance.provider), describe(provider.provider)],
                why=f"all {record.rows} rows of train have a null `{label}`.",
                fix=f"see how the loader of `{provider.provider.name}` makes `{label}`.",
            )


def _given(instance: Instance, frames: Frames, training: "DataFrame") -> dict[str, dict[str, Any]]:
    """What each fit of an estimator is given, as `observed` tells it."""
    given = observed(instance, instance.fits, rows_by_bucket(training))
    label = instance.stage.operation.label
    reads = {**instance.inputs, **instance.fit_inputs}
    if label is not None and reads[label] in lessons(instance).remade:
        # Each fit makes its own labels, and leaves out the rows that get none.
        for fit in instance.fits:
            rows = rows_by_bucket(frames.rows_of(instance, fit, training))
            given |= observed(instance, [fit], rows)
    return given
