"""What distillation on logits refuses, and in which words."""

import pytest
import torch

from segstill.losses import LOSSES

from .samples import batch


@pytest.mark.parametrize("name", ["pixel_kd", "icsd"])
class TestRefuses:
    def test_another_number_of_classes(self, name):
        with pytest.raises(ValueError, match=r"student predicts 11 classes and the teacher 21.*choose a teacher"):
            LOSSES[name]({"logits": (11, 21)})
        with pytest.raises(ValueError, match="student predicts 3 classes and the teacher 4"):
            LOSSES[name]({})(
                {"logits": torch.zeros(1, 3, 2, 2)}, {"logits": torch.zeros(1, 4, 2, 2)}, batch(1, 3, (2, 2))
            )

    def test_another_size(self, name):
        with pytest.raises(ValueError, match="resize the teacher's"):
            LOSSES[name]({})(
                {"logits": torch.zeros(1, 3, 4, 4)}, {"logits": torch.zeros(1, 3, 2, 2)}, batch(1, 3, (4, 4))
            )

    def test_a_mask_of_another_size(self, name):
        logits = {"logits": torch.zeros(1, 3, 4, 4)}
        with pytest.raises(ValueError, match=r"expected bool \(1, 4, 4\)"):
            LOSSES[name]({})(logits, logits, batch(1, 3, (2, 2)))

    @pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
    def test_a_temperature_that_is_not_positive(self, name, temperature):
        with pytest.raises(ValueError, match="expected a number above 0"):
            LOSSES[name]({}, temperature=temperature)

    def test_an_unknown_variant(self, name):
        with pytest.raises(ValueError, match="expected 'paper' or 'published'"):
            LOSSES[name]({}, variant="other")
