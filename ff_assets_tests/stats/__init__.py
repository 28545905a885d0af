"""Statistics against definitions, independent implementations and simulations."""
