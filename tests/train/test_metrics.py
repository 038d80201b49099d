"""The record of a run after it was killed."""

from __future__ import annotations

import json

from etils import epath

from emjax.train.metrics import METRICS_FILE, MetricsLog


def test_an_evaluation_that_is_made_again_replaces_its_line(tmp_path) -> None:
    folder = epath.Path(tmp_path)

    def record() -> list[tuple[int, str]]:
        lines = (tmp_path / METRICS_FILE).read_text().splitlines()
        return [(line["step"], sorted(line)[0]) for line in map(json.loads, lines)]

    log = MetricsLog(folder, 0, shown=True)
    for step in (1, 2):
        log.log_steps(step, [{"loss": 1.0}], {})
        log.log_evaluation(step, {"score": 1.0}, {})
    log.close()
    wanted = [(1, "losses"), (1, "eval"), (2, "losses"), (2, "eval")]
    assert record() == wanted
    # Killed between the last evaluation and the results: the next process evaluates again.
    log = MetricsLog(folder, 2, shown=True)
    log.log_evaluation(2, {"score": 2.0}, {})
    log.close()
    assert record() == wanted and log.evaluations[2] == {"score": 2.0}
    assert json.loads((tmp_path / METRICS_FILE).read_text().splitlines()[-1])["eval"]["score"] == 2
    # Killed after a checkpoint of step 1: what is later goes.
    MetricsLog(folder, 1, shown=True).close()
    assert record() == wanted[:2]
