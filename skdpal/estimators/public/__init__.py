"""What is learnt from public data, then frozen."""

from skdpal.estimators.public.encoder import PublicEncoder

__all__ = ["PublicEncoder"]
