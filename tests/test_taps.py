"""Taps read features of a model without changing it, and say what is wrong with a tap that cannot be read."""

import copy

import pytest
import torch
from torch import nn

from segstill.taps import Tap, Tapped, feature_channels


class Pyramid(nn.Module):
    """Returns a list of features, like an encoder."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.second = nn.Conv2d(4, 6, 3, stride=2, padding=1)

    def forward(self, image):
        first = self.first(image)
        return [first, self.second(first)]


class Net(nn.Module):
    def __init__(self, inplace: bool = False):
        super().__init__()
        self.encoder = Pyramid()
        self.activation = nn.ReLU(inplace=inplace)
        self.head = nn.Conv2d(6, 5, 1)
        self.unused = nn.Conv2d(6, 5, 1)

    def forward(self, image):
        return self.head(self.activation(self.encoder(image)[-1]))


@pytest.fixture
def image():
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_a_path_alone_reads_what_the_module_returns(image):
    net = Net()
    features = Tapped(net, {"mid": "activation"})(image)
    assert set(features) == {"logits", "mid"}
    assert torch.equal(features["logits"], net.head(features["mid"]))


def test_an_input_tap_reads_what_the_module_is_given(image):
    features = Tapped(Net(), {"pre": Tap("activation", read="input"), "post": "activation"})(image)
    assert (features["pre"] < 0).any()
    assert torch.equal(features["pre"].relu(), features["post"])


def test_an_index_chooses_among_the_tensors_that_a_module_returns(image):
    net = Net()
    features = Tapped(net, {"first": Tap("encoder", index=0), "last": Tap("encoder", index=-1)})(image)
    assert features["first"].shape == (2, 4, 8, 8)
    assert features["last"].shape == (2, 6, 4, 4)


def test_a_list_without_an_index_is_refused_with_the_remedy(image):
    with pytest.raises(ValueError, match=r"reads a list at 'encoder'.*index=-1"):
        Tapped(Net(), {"encoder": "encoder"})(image)


def test_gradients_flow_through_a_tap(image):
    net = Net()
    Tapped(net, {"mid": "activation"})(image)["mid"].sum().backward()
    assert net.encoder.second.weight.grad is not None
    assert net.head.weight.grad is None


def test_a_wrong_path_is_answered_with_the_nearest_names():
    with pytest.raises(ValueError, match=r"Net has no module 'encoder.secnd'.*'encoder.second'"):
        Tapped(Net(), {"x": "encoder.secnd"})


def test_a_feature_that_is_overwritten_in_place_is_refused_with_the_remedy(image):
    tapped = Tapped(Net(inplace=True), {"raw": "encoder.second"})
    with pytest.raises(RuntimeError, match=r"'raw' was overwritten in place.*inplace=False"):
        tapped(image)


def test_a_module_that_does_not_run_is_named(image):
    with pytest.raises(ValueError, match=r"tap 'dead': module 'unused' did not run"):
        Tapped(Net(), {"dead": "unused"})(image)


def test_a_module_that_runs_twice_gives_its_last_run(image):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Conv2d(3, 3, 1)

        def forward(self, image):
            return self.scale(self.scale(image))

    features = Tapped(Twice(), {"scale": "scale"})(image)
    assert features["scale"] is features["logits"]


def test_tapping_leaves_state_and_mode_alone(image):
    net = Net()
    net.encoder.eval()
    state = copy.deepcopy(net.state_dict())
    modes = [module.training for module in net.modules()]
    names = [name for name, _ in net.named_parameters()]
    Tapped(net, {"mid": "activation"})(image)
    assert net.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert [module.training for module in net.modules()] == modes
    assert [name for name, _ in net.named_parameters()] == names


def test_closing_removes_the_taps(image):
    net = Net()
    with Tapped(net, {"mid": "activation", "pre": Tap("head", read="input")}) as tapped:
        tapped(image)
        assert any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_two_tapped_of_one_model_do_not_disturb_each_other(image):
    net = Net()
    one, other = Tapped(net, {"mid": "activation"}), Tapped(net, {"mid": Tap("encoder", index=0)})
    assert one(image)["mid"].shape[1] == 6
    assert other(image)["mid"].shape[1] == 4
    other.close()
    assert one(image)["mid"].shape[1] == 6


def test_a_copy_of_a_tapped_model_runs_alone(image):
    net = Net().eval()
    tapped = Tapped(net, {"mid": "activation"})
    twin = copy.deepcopy(net)
    with torch.no_grad():
        twin.head.bias.add_(1)
        torch.testing.assert_close(twin(image), tapped(image)["logits"] + 1)
        features = Tapped(twin, {"mid": "activation"})(image)
    assert torch.equal(features["logits"], twin.head(features["mid"]))


def test_a_model_and_its_taps_are_copied_as_one_piece(image):
    net = Net().eval()
    twin, tapped = copy.deepcopy((net, Tapped(net, {"mid": "activation"})))
    with torch.no_grad():
        twin.encoder.second.bias.add_(100)
        features = tapped(image)
    assert tapped.model is twin
    assert (features["mid"] > 50).all()


def test_features_are_forgotten_after_a_forward_that_fails():
    tapped = Tapped(Net(), {"mid": "activation"})
    with pytest.raises(RuntimeError):
        tapped(torch.zeros(1, 4, 8, 8))
    assert tapped._seen is None


def test_channels_are_measured_without_moving_statistics_or_mode(image):
    net = Net()
    net.encoder.first[2].eval()
    before = copy.deepcopy(net.state_dict())
    modes = [module.training for module in net.modules()]
    channels = feature_channels(net, {"mid": "activation", "first": Tap("encoder", index=0)}, image)
    assert channels == {"logits": 5, "mid": 6, "first": 4}
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [module.training for module in net.modules()] == modes
    assert not any(module._forward_hooks for module in net.modules())


def test_channels_of_something_that_is_no_map_are_refused(image):
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4), nn.Unflatten(1, (4, 1, 1)))
    with pytest.raises(ValueError, match=r"tap 'vector' has shape \(2, 4\), expected a map"):
        feature_channels(net, {"vector": "1"}, image)


class Tokens(nn.Module):
    """A transformer's body: tokens in rows behind two that are no part of the image, and a map with channels last."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 4, stride=4)
        self.tokens = nn.Identity()
        self.last = nn.Identity()
        self.head = nn.Conv2d(6, 5, 1)

    def forward(self, image):
        map_ = self.patches(image)
        extra = torch.full((len(image), 2, 6), 9.0)
        rows = self.tokens(torch.cat([extra, map_.flatten(2).transpose(1, 2)], dim=1))[:, 2:]
        self.last(map_.permute(0, 2, 3, 1))
        return self.head(rows.transpose(1, 2).reshape(map_.shape))


class Padded(nn.Module):
    """Pads the image before the network that is tapped."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, image):
        return self.net(nn.functional.pad(image, (0, -image.shape[3] % 4, 0, -image.shape[2] % 4)))


TOKENS = {
    "rows": Tap("tokens", layout="NLC", prefix=2, stride=4),
    "last": Tap("last", layout="NHWC"),
    "map": Tap("patches"),
}


@pytest.mark.parametrize("size", [(8, 12), (12, 8), (16, 16), (4, 24)])
def test_every_layout_is_read_as_the_same_map(size):
    features = Tapped(Tokens(), TOKENS)(torch.rand(2, 3, *size))
    assert features["map"].shape == (2, 6, size[0] // 4, size[1] // 4)
    assert torch.equal(features["rows"], features["map"])
    assert torch.equal(features["last"], features["map"])


def test_tokens_are_laid_out_by_the_image_that_the_network_itself_was_given():
    """5 x 13 becomes 8 x 16 inside, which is 2 x 4 tokens; 1 x 8 would be as many."""
    taps = {name: tap._replace(path=f"net.{tap.path}") for name, tap in TOKENS.items()}
    features = Tapped(Padded(Tokens()), taps)(torch.rand(1, 3, 5, 13))
    assert features["rows"].shape == (1, 6, 2, 4)
    assert torch.equal(features["rows"], features["map"])


def test_an_image_that_was_given_by_name_counts_too():
    class ByName(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Tokens()

        def forward(self, image):
            return self.net(image=image)

    features = Tapped(ByName(), {"rows": TOKENS["rows"]._replace(path="net.tokens")})(torch.rand(1, 3, 8, 12))
    assert features["rows"].shape == (1, 6, 2, 3)


def test_tokens_that_do_not_fill_the_image_are_refused():
    with pytest.raises(
        ValueError, match=r"tap 'rows' has 7 tokens for an image of \(8, 12\), expected 2 x 3 at stride 4"
    ):
        Tapped(Tokens(), {"rows": TOKENS["rows"]._replace(prefix=1)})(torch.rand(1, 3, 8, 12))


def test_gradients_flow_through_tokens():
    net = Tokens()
    Tapped(net, TOKENS)(torch.rand(1, 3, 8, 8))["rows"].square().sum().backward()
    assert net.patches.weight.grad is not None
