"""Pre-activation taps are found without knowing the network."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segstill.models.publish import drop_unused, publish_taps
from segstill.taps import Tap, Tapped


class Net(nn.Module):
    """An encoder whose last feature is made by `last`, and a head."""

    def __init__(self, last, head=None):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.last = last if isinstance(last, nn.Module) else None
        self.function = last
        self.head = head or nn.Conv2d(4, 2, 1)
        self.body = nn.Identity()

    def forward(self, image):
        feature = self.conv(image)
        return self.head(self.body((self.last or self.function)(feature)))


@pytest.fixture
def image():
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.LeakyReLU])
@pytest.mark.parametrize("inplace", [True, False])
def test_an_activation_is_found_and_no_longer_overwrites(activation, inplace, image):
    net = Net(activation(inplace=inplace))
    expected = copy.deepcopy(net).eval()(image)
    taps = publish_taps(net, {"body": "body"}, image)
    assert taps == {"body": Tap("body"), "body_pre": Tap("last", read="input")}
    features = Tapped(net.eval(), taps)(image)
    assert torch.equal(features["logits"], expected)
    assert torch.equal(activation()(features["body_pre"]), features["body"])


def test_an_activation_of_timm_is_found(image):
    from timm.layers import HardSwish

    assert publish_taps(Net(HardSwish(inplace=True)), {"body": "body"}, image)["body_pre"] == Tap("last", read="input")


def test_a_feature_that_nothing_activated_is_its_own_pre(image):
    taps = publish_taps(Net(nn.Conv2d(4, 4, 1)), {"body": "body"}, image)
    assert taps["body_pre"] == taps["body"] == Tap("body")


def _scaled(x):
    return nn.Parameter(torch.ones(4, 1, 1)) * x


ACTIVATED = {
    "relu": F.relu,
    "relu6": F.relu6,
    "gelu": F.gelu,
    "silu": F.silu,
    "hardswish": F.hardswish,
    "tanh": torch.tanh,
    "clamp": lambda x: x.clamp(0),
    "swish by hand": lambda x: x * x.sigmoid(),
    "mish by hand": lambda x: x * F.softplus(x).tanh(),
    "relu by a mask": lambda x: x * (x > 0),
    "relu by a choice": lambda x: torch.where(x > 0, x, 0),
    "relu by the absolute": lambda x: 0.5 * (x + x.abs()),
    "gate": lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(),
    "relu, moved": lambda x: F.relu(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
    "relu, permuted twice": lambda x: F.relu(x).permute(0, 2, 3, 1).permute(0, 3, 1, 2),
    "relu, added": lambda x: x + F.relu(x),
    "relu, pooled": lambda x: F.avg_pool2d(F.relu(x), 2),
    "relu, scaled by a weight": lambda x: _scaled(F.relu(x)),
}


@pytest.mark.parametrize("function", ACTIVATED.values(), ids=ACTIVATED)
def test_a_feature_that_a_function_activated_has_no_pre(function, image):
    with torch.no_grad():  # a builder may be called in there
        assert set(publish_taps(Net(function), {"body": "body"}, image)) == {"body"}


class Residual(nn.Module):
    """x + weight * branch(x), the weight one per channel as in a LayerScale, or none."""

    def __init__(self, branch, weight=None):
        super().__init__()
        self.branch = branch
        self.weight = weight and nn.Parameter(torch.full(weight, 0.1))

    def forward(self, feature):
        branch = self.branch(feature)
        return feature + (branch if self.weight is None else self.weight * branch)


class LastChannels(nn.Module):
    """Normalises, maps and scales with the channels last, as ConvNeXt and Swin do."""

    def __init__(self):
        super().__init__()
        self.norm, self.linear, self.weight = nn.LayerNorm(4), nn.Linear(4, 4), nn.Parameter(torch.full((4,), 0.1))

    def forward(self, feature):
        tokens = feature.permute(0, 2, 3, 1)
        return (tokens + self.weight * self.linear(self.norm(tokens))).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    "last",
    [
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)),
        nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)),
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.Upsample(scale_factor=2, mode="bilinear"), nn.AvgPool2d(2)),
        Residual(nn.Conv2d(4, 4, 1)),
        Residual(nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))),
        Residual(nn.Sequential(nn.Conv2d(4, 4, 1), nn.GELU(), nn.Conv2d(4, 4, 1)), weight=(4, 1, 1)),
        LastChannels(),
    ],
    ids=["norm", "norm after relu", "resized and pooled", "sum", "bottleneck", "LayerScale", "channels last"],
)
@pytest.mark.parametrize("frozen", [False, True])
def test_a_sum_of_layers_scaled_by_weights_is_its_own_pre(last, frozen, image):
    net = Net(last).requires_grad_(not frozen)
    assert publish_taps(net, {"body": "body"}, image) == {"body": Tap("body"), "body_pre": Tap("body")}
    assert all(parameter.requires_grad is not frozen for parameter in net.parameters())


def test_a_branch_that_ends_in_an_activation_gives_its_sum_no_pre(image):
    net = Net(Residual(nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU()), weight=(4, 1, 1)))
    assert set(publish_taps(net, {"body": "body"}, image)) == {"body"}


def test_the_last_of_several_runs_counts(image):
    relu = nn.ReLU(inplace=True)

    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = relu
            self.middle, self.final = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, feature):
            return self.relu(feature + self.final(self.relu(self.middle(feature))))

    net = Net(Shared())
    taps = publish_taps(net, {"body": "body"}, image)
    features = Tapped(net, taps)(image)
    assert (features["body_pre"] < 0).any()
    assert torch.equal(features["body_pre"].relu(), features["body"])


@pytest.mark.parametrize("inplace", [True, False])
def test_a_feature_after_dropout_is_read_before_it(inplace, image):
    net = Net(nn.Sequential(nn.ReLU(), nn.Dropout2d(0.5, inplace=inplace), nn.Dropout(0.5, inplace=inplace)))
    taps = publish_taps(net, {"body": "body"}, image)
    assert taps == {"body": Tap("last.1", read="input"), "body_pre": Tap("last.0", read="input")}
    features = Tapped(net.train(), taps)(image)
    assert torch.equal(features["body_pre"].relu(), features["body"])


def test_an_activation_that_would_overwrite_a_feature_afterwards_no_longer_does(image):
    net = Net(nn.Conv2d(4, 4, 1), head=nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(4, 2, 1), nn.ReLU(inplace=True)))
    taps = publish_taps(net, {"body": "body"}, image)
    assert (Tapped(net, taps)(image)["body"] < 0).any()
    assert net.head[0].inplace is False
    assert net.head[2].inplace is True  # touches no published feature: saves memory as before


def test_the_network_is_left_as_it_was(image):
    net = Net(nn.ReLU(inplace=True))
    net.conv[1].eval()
    state, modes = copy.deepcopy(net.state_dict()), [module.training for module in net.modules()]
    publish_taps(net, {"body": "body"}, image)
    assert net.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert [module.training for module in net.modules()] == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_network_is_left_as_it_was_after_a_failure(image):
    net = Net(nn.ReLU(inplace=True))
    with pytest.raises(ValueError, match="no module 'bdy'"):
        publish_taps(net, {"body": "bdy"}, image)
    assert net.last.inplace is True
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())


def test_a_part_without_a_gradient_that_moves_the_scores_stays():
    """A threshold passes no gradient back, and yet its part decides."""

    class Gated(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scores, self.gate = torch.nn.Conv2d(3, 2, 1), torch.nn.Conv2d(3, 2, 1)
            self.unused = torch.nn.Conv2d(3, 2, 1)

        def forward(self, image):
            self.unused(image)
            return self.scores(image) * (self.gate(image).detach() > 0)

    torch.manual_seed(0)
    net, image = Gated(), torch.rand(1, 3, 8, 8)
    before = net(image)
    drop_unused(net, image)
    assert torch.equal(net(image), before)
    assert isinstance(net.gate, torch.nn.Conv2d)
    assert isinstance(net.unused, torch.nn.Identity)
