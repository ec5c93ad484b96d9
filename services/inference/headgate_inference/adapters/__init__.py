"""One adapter for each kind of provider: the canonical request out, the canonical reply back."""
