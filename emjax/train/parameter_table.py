"""Says how large a network is."""

from __future__ import annotations

import logging as levels
from typing import Any

from absl import logging
from clu import parameter_overview


def log_parameters(params: Any) -> None:
    """Says how many parameters there are, and with --log_level=debug which, and how they are split among devices."""
    logging.info("%.3g M parameters", parameter_overview.count_parameters(params) / 1e6)
    if logging.get_absl_logger().isEnabledFor(levels.DEBUG):
        logging.debug(
            "parameters:\n%s",
            parameter_overview.get_parameter_overview(params, include_stats="sharding"),
        )
