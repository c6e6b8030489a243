"""What releases cost, alone and together.

`gaussian` (sums of μ²) and `renyi` (divergences order by order) may decide adaptive charges; `losses`
(privacy loss distributions) only prices what was frozen beforehand, which `frozen` does.
"""

from skdpal.privacy.accounting.frozen import epsilon_of
from skdpal.privacy.accounting.gaussian import ceiling_mu_squared, delta_of_mu, epsilon_of_mu, mu_squared

__all__ = ["ceiling_mu_squared", "delta_of_mu", "epsilon_of", "epsilon_of_mu", "mu_squared"]
