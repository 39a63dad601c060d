"""What distillation refuses, and in which words."""

import inspect

import pytest
import torch

import segstill.losses
from segstill.losses import LOSSES, LogitLoss

from .samples import batch

ON_LOGITS = [name for name, loss in LOSSES.items() if issubclass(loss, LogitLoss)]
ON_FEATURES = {"fitnet": {}, "cwd_feature": {}, "at": {}, "sp": {}, "pairwise": {}}
ON_FEATURES |= {"ifvd": {"target": torch.zeros(1, 8, 8, dtype=torch.long), "num_classes": 2}}


@pytest.mark.parametrize("name", ON_LOGITS)
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

    def test_an_unknown_variant(self, name):
        with pytest.raises(ValueError, match="expected 'paper' or 'published'"):
            LOSSES[name]({}, variant="other")

    def test_a_mask_where_the_published_code_has_none(self, name):
        logits, valid = torch.zeros(1, 3, 4, 4), torch.ones(1, 4, 4, dtype=torch.bool)
        with pytest.raises(ValueError, match="the published code masks no pixel"):
            getattr(segstill.losses, name)(logits, logits, valid=valid, variant="published")


@pytest.mark.parametrize(
    "name", [name for name in ON_LOGITS if "temperature" in inspect.signature(LOSSES[name]).parameters]
)
@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_a_temperature_that_is_not_positive_is_refused(name, temperature):
    with pytest.raises(ValueError, match="expected a number above 0"):
        LOSSES[name]({}, temperature=temperature)


@pytest.mark.parametrize("name", ON_FEATURES)
class TestOnFeaturesRefuses:
    def test_another_size(self, name):
        with pytest.raises(ValueError, match=r"is \(1, 3, 4, 4\) and the teacher's \(1, 3, 2, 2\)"):
            getattr(segstill.losses, name)(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 2, 2), **ON_FEATURES[name])

    def test_a_mask_of_another_size(self, name):
        feature, valid = torch.zeros(1, 3, 4, 4), torch.ones(1, 2, 2, dtype=torch.bool)
        with pytest.raises(ValueError, match=r"expected bool \(1, 4, 4\)"):
            getattr(segstill.losses, name)(feature, feature, **ON_FEATURES[name], valid=valid)

    def test_a_mask_where_the_published_code_has_none(self, name):
        feature, valid = torch.zeros(1, 3, 4, 4), torch.ones(1, 4, 4, dtype=torch.bool)
        with pytest.raises(ValueError, match="the published code masks no pixel"):
            getattr(segstill.losses, name)(feature, feature, **ON_FEATURES[name], valid=valid, variant="published")

    def test_an_unknown_variant(self, name):
        with pytest.raises(ValueError, match="expected 'paper' or 'published'"):
            LOSSES[name]({"encoder": (3, 3), "logits": (2, 2)}, variant="other")
