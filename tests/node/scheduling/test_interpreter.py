"""While nodes answer, threads take turns soon and no collection visits what was there before."""

from __future__ import annotations

import gc
import sys

from tests.node.stepwise_perceiver import StepwisePerceiver, running_node


def test_threads_take_turns_soon_until_the_last_node_has_stopped():
    former_s, frozen = sys.getswitchinterval(), gc.get_freeze_count()
    with running_node(StepwisePerceiver()) as (node, _):
        assert sys.getswitchinterval() <= 0.0005 and gc.get_freeze_count() > frozen
        with running_node(StepwisePerceiver()):
            node.stop()
            node.stop()
            assert sys.getswitchinterval() <= 0.0005 and gc.get_freeze_count() > frozen
    assert (sys.getswitchinterval(), gc.get_freeze_count()) == (former_s, frozen)
