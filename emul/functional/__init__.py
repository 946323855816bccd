"""Products that a model's forward makes by calling functions: which they are, and how `swap_` reaches them."""
