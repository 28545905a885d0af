"""Which household will redeem an offer? Sales -> segments and propensity -> next best action.

The data are the Complete Journey household panel, see `datasets/complete_journey.py`. This is a
response model: it says who redeems a coupon, not whom the campaign made buy more. For that, uplift,
it takes households that were left out at random, which the panel does not have.

How time is handled:

* January and February 2017 tell a household's habits: nothing later enters them (`as_of`).
* March and April tell what it spent next, the label of the propensity.
* Offers count from May on, so segments and propensity are known before every one of them. An
  offer's own measures are of the 90 days before it.
"""

from pyspark.ml.classification import GBTClassifier, LogisticRegression
from pyspark.ml.clustering import KMeans
from pyspark.ml.feature import OneHotEncoder, StandardScaler, VectorAssembler
from pyspark.ml.regression import GeneralizedLinearRegression
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from ff_assets import (
    Entity,
    Hypothesis,
    Source,
    Target,
    TimeSplit,
    aggregate,
    aggregates,
    feature,
    stage,
)
from ff_assets.flows.datasets import panel_table, panel_version

AS_OF = "2017-03-01"  # what a household did before tells its habits
FIRST_OFFERS = "2017-05-01"  # what it spent until then is the label of its propensity
LAST_DAY = "2017-12-31"  # of the data
LARGE_SPEND = 300 * 100  # in two months; a third of the households spend as much

household = Entity("household", key="household_id", time="as_of")
basket = Entity(
    "basket", key="basket_id", parent=household, foreign_key="household_id", time="bought_at"
)
offer = Entity(
    "offer", key="offer_id", parent=household, foreign_key="household_id", time="offered_at"
)


def load_households(spark: SparkSession) -> DataFrame:
    """Every household that bought something in the year."""
    lines = spark.read.parquet(str(panel_table("transactions")))
    bought = F.col("transaction_timestamp")
    next_spend = F.sum(F.when((bought >= AS_OF) & (bought < FIRST_OFFERS), F.col("sales_value")))
    return lines.groupBy("household_id").agg(
        F.lit(AS_OF).cast("date").alias("as_of"),
        F.coalesce(_cents(next_spend) >= LARGE_SPEND, F.lit(False))
        .cast("double")
        .alias("spends_much"),
    )


def load_baskets(spark: SparkSession) -> DataFrame:
    """The lines of each basket, summed up."""
    lines = spark.read.parquet(str(panel_table("transactions")))
    return lines.groupBy("basket_id", "household_id").agg(
        F.min("transaction_timestamp").alias("bought_at"),
        _cents(F.sum("sales_value")).alias("amount"),
        _cents(F.sum("retail_disc")).alias("discount"),
        _cents(F.sum(F.col("coupon_disc") + F.col("coupon_match_disc"))).alias("coupon_savings"),
    )


def load_offers(spark: SparkSession) -> DataFrame:
    """Every household that a campaign was sent to, with whether it redeemed one of its coupons."""
    campaigns = spark.read.parquet(str(panel_table("campaign_descriptions")))
    redeemed = (
        spark.read.parquet(str(panel_table("coupon_redemptions")))
        .select("campaign_id", "household_id")
        .distinct()
        .withColumn("redeemed", F.lit(1.0))
    )
    # Before, there is no history to predict from; of what goes on, the outcome is not known yet.
    known = (F.col("start_date") >= FIRST_OFFERS) & (F.col("end_date") <= LAST_DAY)
    return (
        spark.read.parquet(str(panel_table("campaigns")))
        .join(campaigns, "campaign_id")
        .join(redeemed, ["campaign_id", "household_id"], "left")
        .select(
            F.concat_ws("-", "campaign_id", "household_id").alias("offer_id"),
            "household_id",
            F.to_date("start_date").alias("offered_at"),
            "campaign_type",
            F.when(known, F.coalesce("redeemed", F.lit(0.0))).alias("redeemed"),
        )
    )


def _cents(dollars: Column) -> Column:
    """Whole cents: their sums are exact, so they do not depend on the order of the rows."""
    return F.round(dollars * 100)


def transactions_version() -> str:
    """The purchases are as they are in one file."""
    return panel_version("transactions")


def offers_version() -> str:
    """Campaigns, whom they were sent to, and who redeemed a coupon."""
    return panel_version("campaigns", "campaign_descriptions", "coupon_redemptions")


households = Source(
    "households",
    entity=household,
    load=load_households,
    features={"spends_much": "double"},
    labels=["spends_much"],
    label_horizon="61d",
    version=transactions_version,
    sensitivity={"household_id": ["pseudonym"], "spends_much": ["purchases"]},
    owner="team:crm",
    description="2,469 households, and whether they spent $300 or more in March and April 2017.",
)
baskets = Source(
    "baskets",
    entity=basket,
    load=load_baskets,
    features={"amount": "double", "discount": "double", "coupon_savings": "double"},
    version=transactions_version,
    sensitivity={
        "amount": ["purchases"],
        "discount": ["purchases"],
        "coupon_savings": ["purchases"],
    },
    owner="team:crm",
    description="155,848 baskets of 2017: what was paid, the discount, and what coupons saved, in "
    "cents.",
)
offers = Source(
    "offers",
    entity=offer,
    load=load_offers,
    features={"campaign_type": "string", "redeemed": "double"},
    labels=["redeemed"],
    label_horizon="65d",  # the longest campaign whose outcome is known
    version=offers_version,
    owner="team:crm",
    description="6,589 households that one of 27 campaigns was sent to. `redeemed` (at least one "
    "coupon of the campaign) is null for campaigns that began before May 2017 or end after 2017.",
)


@feature(entity=basket, owner="team:crm")
def used_coupon(coupon_savings: Column) -> Column:
    """1 if a coupon was used."""
    return (coupon_savings > 0).cast("double")


# Habits: features of the household, of the months before `as_of`.
habits = aggregates(
    "habits",
    of=basket,
    to=household,
    measures={"amount": ["count", "sum"], "discount": ["sum"], "used_coupon": ["sum"]},
    owner="team:crm",
    description="What the household bought in January and February 2017.",
)


@feature(entity=household, owner="team:crm")
def log_baskets(amount_count: Column) -> Column:
    """Number of baskets, as a logarithm: few households shop daily."""
    return F.log1p(amount_count)


@feature(entity=household, owner="team:crm")
def log_basket_value(amount_sum: Column, amount_count: Column) -> Column:
    """Mean dollars of a basket, as a logarithm; 0 without baskets."""
    return F.log1p(amount_sum / F.greatest(amount_count, F.lit(1)) / 100)


@feature(entity=household, owner="team:crm")
def discount_share(discount_sum: Column, amount_sum: Column) -> Column:
    """Share of the full price that discounts saved; 0 without baskets."""
    return discount_sum / F.greatest(amount_sum + discount_sum, F.lit(1))


@feature(entity=household, owner="team:crm")
def log_coupon_baskets(used_coupon_sum: Column) -> Column:
    """Number of baskets with a coupon, as a logarithm."""
    return F.log1p(used_coupon_sum)


behaviour = stage(
    VectorAssembler,
    inputCols=["log_baskets", "log_basket_value", "discount_share", "log_coupon_baskets"],
    outputCol="behaviour",
)

# Segments read no label and their numbers mean nothing across fits: fitted once, on train.
scaled = stage(StandardScaler, inputCol="behaviour", outputCol="scaled_behaviour", withMean=True)
segments = stage(
    KMeans, featuresCol="scaled_behaviour", predictionCol="segment", k=4, seed=1
).described("Households that shop alike.")
flags = stage(
    OneHotEncoder,
    inputCol="segment",
    outputCol="segment_flags",
    dropLast=False,
    handleInvalid="keep",
)

# The propensity reads a label and feeds another model: cross-fitted, so that no household's comes
# from a fit that saw its label. Binomial regression gives a probability as its prediction.
propensity = (
    stage(
        GeneralizedLinearRegression,
        featuresCol="behaviour",
        labelCol="spends_much",
        predictionCol="spend_propensity",
        family="binomial",
    )
    .cross_fit(5)
    .described("Probability of spending $300 or more in the next two months.")
)

# Recency, frequency and monetary value at the time of the offer.
rfm = aggregates(
    "rfm",
    of=basket,
    to=offer,
    measures={
        "amount": ["recency", "count", "sum"],
        "coupon_savings": ["sum"],
        "used_coupon": ["sum"],
    },
    windows=["90d"],
    owner="team:crm",
    description="What the household bought in the 90 days before the offer.",
)


@aggregate(of=basket, to=offer, owner="team:crm")
def coupon_baskets(used_coupon: Column) -> Column:
    """Baskets with a coupon before the offer, since January 2017; null without any basket."""
    return F.sum(used_coupon)


@feature(entity=offer, owner="team:crm")
def coupons_so_far(coupon_baskets: Column) -> Column:
    """Baskets with a coupon before the offer."""
    return F.coalesce(coupon_baskets, F.lit(0.0))


@feature(entity=offer, owner="team:crm")
def days_since_basket(amount_recency_90d: Column) -> Column:
    """Days since the latest basket, 90 if it is as long ago or longer."""
    return F.coalesce(amount_recency_90d, F.lit(90.0))


@feature(entity=offer, owner="team:crm")
def is_type_a(campaign_type: Column) -> Column:
    """1 for the large campaigns, whose coupons are chosen for the household."""
    return (campaign_type == "Type A").cast("double")


RFM = [
    "days_since_basket",
    "amount_count_90d",
    "amount_sum_90d",
    "coupon_savings_sum_90d",
    "used_coupon_sum_90d",
    "coupons_so_far",
    "is_type_a",
]

# Two providers of `offer_profile`, two of `next_best_action`: four variants. Do segments help?
plain = stage(VectorAssembler, inputCols=RFM, outputCol="offer_profile").named("plain")
segmented = stage(
    VectorAssembler,
    inputCols=[*RFM, "segment_flags", "spend_propensity"],
    outputCol="offer_profile",
).named("segmented")

# What a household bought must not be seen in predictions: flows/policy.py.
ONE_SCORE = "one score for each offer; no basket can be told from it"

linear = (
    stage(
        LogisticRegression,
        featuresCol="offer_profile",
        labelCol="redeemed",
        predictionCol="next_best_action",
        regParam=0.001,
    )
    .named("linear")
    .declassified("purchases", because=ONE_SCORE)
)
# Chosen on offers of July and August, not untouched by later ones: docs/leakage.md, at its end.
boosted = (
    stage(
        GBTClassifier,
        featuresCol="offer_profile",
        labelCol="redeemed",
        predictionCol="next_best_action",
        maxDepth=3,
        maxIter=30,
        minInstancesPerNode=20,
        seed=1,
    )
    .named("boosted")
    .declassified("purchases", because=ONE_SCORE)
)

segments_help = Hypothesis(
    "segments lift redemption",
    kpi="auc",
    baseline={"offer_profile": "plain", "next_best_action": "boosted"},
    claim={"offer_profile": "segmented"},
    min_effect=0.01,
)

next_best_action = Target(
    "next_best_action",
    outputs=["next_best_action"],
    keep=["campaign_type"],
    label="redeemed",
    task="binary",
    hypotheses=[segments_help],
    owner="team:crm",
    description="Will a household that no model has seen redeem the offer?",
)

# The same stages under another split: train on offers until August, test on those from October.
# With this embargo, a cutoff after 12 October leaves two of the three large campaigns for train.
redemption_by_time = Target(
    "redemption_by_time",
    outputs=["next_best_action"],
    keep=["campaign_type"],
    label="redeemed",
    task="binary",
    split=TimeSplit("2017-10-15", embargo="65d"),
    choose={"offer_profile": ["plain"], "next_best_action": ["boosted"]},
    owner="team:crm",
    description="Will the offer be redeemed, predicted from what was known months before?",
)
