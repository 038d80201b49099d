"""What is told at the end of a training job."""

from __future__ import annotations

from emjax.train import job


def test_a_score_stands_beside_what_it_compares_with():
    results = {"top1": 0.5, "top1_raw": 0.25, "top1_untrained": 0.125, "top1_features": 1.0}
    line = job.summary_line("retrieval", results, "top1", ".2f")
    assert line.split() == ["retrieval", "0.50", "untrained", "0.12", "raw", "pixels", "0.25"]
