"""CIRKD against its memory: values by hand, against a loop, and what the memory keeps."""

import math

import pytest
import torch
import torch.nn.functional as F

from segstill.losses import CIRKDMemory, cirkd_memory
from segstill.losses.cirkd_memory import Memory

CHANNELS = {"decoder": (3, 4), "logits": (5, 5)}


def test_a_value_worked_out_by_hand():
    """The student looks at the first of two vectors, the teacher at both alike; T = 1: log(1 + e) - 1/2 - log 2."""
    student, teacher = torch.tensor([3.0, 0.0]).view(1, 2, 1, 1), torch.tensor([2.0, 2.0]).view(1, 2, 1, 1)
    value = cirkd_memory(student, teacher, torch.eye(2), temperature=1)
    assert float(value) == pytest.approx(math.log(1 + math.e) - 0.5 - math.log(2))


def test_agrees_with_a_loop_over_cells_in_value_and_gradient():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 4, 3, 5, dtype=torch.float64)
    memory = F.normalize(torch.randn(9, 4, dtype=torch.float64), dim=1)
    valid, present = torch.rand(2, 3, 5) > 0.3, torch.rand(9) > 0.3
    leaves = [student.clone().requires_grad_() for _ in range(2)]
    value = cirkd_memory(leaves[0], teacher, memory, temperature=0.3, present=present, valid=valid)
    values = []
    for n, y, x in valid.nonzero().tolist():
        vectors = (feature[n, :, y, x] for feature in (teacher, leaves[1]))
        p, q = (F.softmax(memory[present] @ vector / vector.norm() / 0.3, dim=0) for vector in vectors)
        values.append((p * (p.log() - q.log())).sum())
    expected = torch.stack(values).mean()
    torch.testing.assert_close(value, expected)
    value.backward()
    expected.backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad)


def test_equal_features_or_an_empty_memory_give_zero():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 4, 3, 5)
    memory = F.normalize(torch.randn(9, 4), dim=1)
    assert cirkd_memory(student, student, memory) == 0
    assert cirkd_memory(student, teacher, memory, present=torch.zeros(9, dtype=torch.bool)) == 0


def filled(memory):
    """Class -> what is kept of it, as a list of numbers."""
    count = memory.written.clamp(max=memory.size).tolist()
    kept = memory.entries[:-1].view(memory.classes, memory.size)
    return [kept[k, : count[k]].tolist() for k in range(memory.classes)]


def test_the_newest_vectors_take_the_place_of_the_oldest_of_their_class():
    memory = Memory(classes=3, size=3, channels=1)

    def add(vectors, classes):
        memory.add(torch.tensor(vectors)[:, None], torch.tensor(classes), limit=3)

    add([1.0, 2.0, 3.0, 4.0], [0, 2, 0, 3])  # the last is of no class
    assert filled(memory) == [[1, 3], [], [2]]
    add([5.0, 6.0], [0, 0])
    assert filled(memory) == [[6, 3, 5], [], [2]]
    assert memory.written.tolist() == [4, 0, 1]


def test_no_class_gets_more_than_the_limit_and_which_vectors_get_in_is_left_to_chance():
    vectors, classes = torch.arange(20.0)[:, None], torch.tensor([0] * 16 + [1] * 4)
    seen = set()
    for seed in range(5):
        torch.manual_seed(seed)
        memory = Memory(classes=2, size=10, channels=1)
        memory.add(vectors, classes, limit=6)
        first, second = filled(memory)
        assert len(first) == 6
        assert first == sorted(set(first))  # in the order in which they came
        assert second == [16, 17, 18, 19]
        seen |= set(first)
    assert len(seen) > 6


def test_a_draw_gives_all_that_is_there_and_of_more_an_evenly_spread_part():
    memory = Memory(classes=2, size=10, channels=1)
    memory.add(torch.arange(10.0)[:, None], torch.tensor([0] * 8 + [1] * 2), limit=10)
    starts = set()
    for seed in range(8):
        torch.manual_seed(seed)
        vectors, present = memory.draw(4)
        first, second = vectors.view(2, 4).tolist()
        assert present.view(2, 4).tolist() == [[True] * 4, [True, True, False, False]]
        assert sorted((later - first[0]) % 8 for later in first) == [0, 2, 4, 6]
        assert second[:2] == [8, 9]
        starts.add(first[0])
    assert len(starts) > 1
    vectors, present = memory.draw(99)
    assert vectors[present].flatten().tolist() == list(range(10))


def sample(labels=((0, 0, 1, 1), (1, 2, 255, 255))):
    """Two images of 2 x 2 cells; the teacher finds class 4 everywhere."""
    torch.manual_seed(0)
    student, teacher = {"decoder": torch.randn(2, 3, 2, 2)}, {"decoder": torch.randn(2, 4, 2, 2)}
    teacher["logits"] = torch.arange(5.0).view(1, 5, 1, 1).expand(2, 5, 2, 2)
    return student, teacher, {"image": torch.zeros(2, 3, 2, 2), "mask": torch.tensor(labels).view(2, 2, 2)}


def test_labelled_cells_and_the_regions_of_each_image_join_the_memory():
    student, teacher, batch = sample()
    loss = CIRKDMemory(CHANNELS, pool=1)
    loss(student, teacher, batch)
    directions = F.normalize(teacher["decoder"], dim=1).flatten(2)
    kept = {0: directions[0, :, :2], 1: torch.cat([directions[0, :, 2:], directions[1, :, :1]], dim=1)}
    kept[2] = directions[1, :, 1:2]
    pixels, regions = loss.pixels["decoder"], loss.regions["decoder"]
    assert pixels.written.tolist() == [2, 3, 1, 0, 0]
    assert regions.written.tolist() == [1, 2, 1, 0, 0]
    for k, vectors in kept.items():
        torch.testing.assert_close(pixels.entries[k * 2000 :][: vectors.shape[1]], vectors.T)
    mean = F.normalize(directions[0, :, 2:].sum(dim=1), dim=0)
    torch.testing.assert_close(regions.entries[200], mean)
    torch.testing.assert_close(regions.entries[201], directions[1, :, 0])


def test_the_value_is_that_of_the_two_memories_together():
    student, teacher, batch = sample(labels=((0, 0, 1, 1), (1, 2, 2, 2)))
    loss = CIRKDMemory(CHANNELS, pool=1)
    value = loss(student, teacher, batch)
    projected = loss.connectors["decoder"](student["decoder"])
    parts = [
        cirkd_memory(projected, teacher["decoder"], entries, present=entries.any(dim=1))
        for entries in (memories["decoder"].entries[:-1] for memories in (loss.pixels, loss.regions))
    ]
    torch.testing.assert_close(value, sum(parts))
    assert min(parts) > 0


def test_the_memory_is_saved_with_the_loss_and_left_alone_in_eval_mode():
    student, teacher, batch = sample()
    loss, other = CIRKDMemory(CHANNELS, pool=1), CIRKDMemory(CHANNELS, pool=1)
    assert other.eval()(student, teacher, batch) == 0
    loss(student, teacher, batch)
    other.load_state_dict(loss.state_dict())
    assert other(student, teacher, batch) == loss.eval()(student, teacher, batch) > 0
    assert torch.equal(other.pixels["decoder"].written, loss.pixels["decoder"].written)


def test_cells_without_a_label_join_as_what_the_teacher_takes_them_for():
    student, teacher, batch = sample()
    everywhere = torch.ones(2, 2, 2, dtype=torch.bool)
    for given, written in [
        (batch | {"valid": everywhere}, [2, 3, 1, 0, 2]),
        ({"image": batch["image"], "mask": torch.full((2, 2, 2), 255), "valid": everywhere}, [0, 0, 0, 0, 8]),
        ({"image": batch["image"]}, [0, 0, 0, 0, 8]),
    ]:
        loss = CIRKDMemory(CHANNELS, pool=1)
        assert loss(student, teacher, given) > 0
        assert loss.pixels["decoder"].written.tolist() == written


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="student predicts 5 classes and the teacher 6"):
        CIRKDMemory(CHANNELS | {"logits": (5, 6)})
    with pytest.raises(ValueError, match=r"memory is \(3, 2\), expected \(Q, 4\)"):
        cirkd_memory(torch.zeros(1, 4, 2, 2), torch.zeros(1, 4, 2, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"\{'pixels': 0\} are below 1"):
        CIRKDMemory(CHANNELS, pixels=0)
    with pytest.raises(ValueError, match="memories need the number of classes"):
        CIRKDMemory({"decoder": (3, 4)})
