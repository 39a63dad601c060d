"""torch.compile takes every loss whole, and computes the same."""

import torch

from .samples import batch, build, detached, every_variant, features, ignore_a_block


@every_variant
def test_compiles_without_a_graph_break_to_the_same_value_and_gradient(name, args):
    published = args.get("variant") == "published"
    data = batch() if published else ignore_a_block(batch())
    backend = "eager" if published else "aot_eager"  # the latter traces the backward pass too, and takes twice as long
    torch.compiler.reset()
    results = []
    for compiled in (False, True):
        loss, student, teacher = build(name, args), features(0, 0), detached(features(1, 7))
        run = torch.compile(loss, fullgraph=True, dynamic=False, backend=backend) if compiled else loss
        torch.manual_seed(0)
        value = run(student, teacher, data)
        value.backward()
        results.append([value.detach(), *(student[tap].grad for tap in loss.taps or ("logits",))])
    for plain, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain)
