"""Weight decay: on everything, or on matrices alone."""

from segstill.build import build_learner, build_optimizer
from segstill.models import swtformer
from segstill.recipe import TermSpec

from .helpers import small_recipe

SMALL_SWIN = {"version": 1, "head_kernel": 1, "embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)}


def test_a_transformer_decays_matrices_alone_and_other_networks_everything():
    learner = build_learner(swtformer(3, **SMALL_SWIN), {"tags": TermSpec()})
    everything = build_optimizer(small_recipe(optimizer="adamw", weight_decay=0.05), learner).param_groups
    assert {group["weight_decay"] for group in everything} == {0.05}
    groups = build_optimizer(
        small_recipe(optimizer="adamw", weight_decay=0.05, decay_norms=False), learner
    ).param_groups
    assert [group["weight_decay"] for group in groups] == [0.05, 0, 0.05]  # the head has no bias
    named = dict(learner.named_parameters())
    spared = {name for name, p in named.items() if any(p is q for q in groups[1]["params"])}
    assert {name for name in named if name.endswith(".bias") or "norm" in name} <= spared
    assert any("relative_position_bias_table" in name for name in spared)
    assert not any(name.endswith(("qkv.weight", "fc1.weight", "head.1.weight")) for name in spared)
    assert sum(len(group["params"]) for group in groups) == len(named)
