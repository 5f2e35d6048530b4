"""How many units an answer of a wanted precision needs, before anything is measured. Light: no numpy, no scipy.

Follows Miller, arXiv 2411.00640 (paired comparisons), Wald's interval for the size of a sample of a share, and David and
Nagaraja, Order Statistics (2003, 7.1) for quantiles. Units are taken as independent: clustered ones need more.
"""

import math
from statistics import NormalDist


def needed_for_quantile(share: float, level: float = 0.95) -> int:
    """The smallest n whose extreme values bound the `share` quantile on both sides at `level`."""
    tail, extreme = 0.5 - level / 2, max(share, 1 - share)
    return math.ceil(math.log(tail) / math.log(extreme))


def needed_for_share(half_width: float, share: float = 0.5, level: float = 0.95) -> int:
    """How many items put the interval of a share (an accuracy) within `half_width` of it; 0.5 is the hardest share."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    return math.ceil(share * (1 - share) * (z / half_width) ** 2)


def needed_pairs(sd_of_difference: float, difference: float, level: float = 0.95, power: float = 0.8) -> int:
    """How many paired units find `difference` with probability `power` (Miller, arXiv 2411.00640, equation 9, K infinite)."""
    z = NormalDist().inv_cdf(0.5 + level / 2) + NormalDist().inv_cdf(power)
    return math.ceil((z * sd_of_difference / difference) ** 2)
