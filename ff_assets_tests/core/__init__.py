"""The pure core: what is declared, what is inferred from it, and what identifies a result."""
