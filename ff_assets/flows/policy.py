"""Where sensitive data of the flows may not go. `ff policy` shows where they do go."""

from ff_assets import Governance

# People write what they like in a `free_text`. Those of the reviews are public, so they may go
# anywhere; the tag finds what they are in.
governance = Governance(
    deny={
        "purchases": ["predictions/*"],  # scores leave the team, shopping lists do not
        "pseudonym": ["models/*", "registry/*"],  # no model learns who is who
    }
)
