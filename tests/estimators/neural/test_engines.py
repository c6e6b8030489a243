"""Engines agree where they should, are chosen by the module alone, and refuse what clipping cannot bound."""

import re

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from skdpal.estimators.neural.engines import engine_for  # noqa: E402
from skdpal.estimators.neural.modules import GenomicClassifier  # noqa: E402
from skdpal.estimators.neural.support import linear_obstacle  # noqa: E402
from skdpal.privacy.randomness import simulation  # noqa: E402

GENES, CLASSES = 12, 3
MODES = ["linear", "hooks", "functorch", "ghost"]
row_loss = nn.CrossEntropyLoss(reduction="none")


class Twice(nn.Module):
    """One layer, used two times."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(GENES, GENES), nn.Linear(GENES, CLASSES)

    def forward(self, X):
        return self.last(self.layer(self.layer(X).tanh()))


class Tied(Twice):
    """A weight that is used outside its layer."""

    def forward(self, X):
        return self.last(functional.linear(self.layer(X).tanh(), self.layer.weight.T))


class Changing(Twice):
    """A layer's input is changed after it was read."""

    def forward(self, X):
        X = X * 1.0
        hidden = self.layer(X)
        X += 1.0
        return self.last(hidden + X)


class Own(nn.Module):
    """A parameter of its own."""

    def __init__(self):
        super().__init__()
        self.scale, self.last = nn.Parameter(torch.ones(GENES)), nn.Linear(GENES, CLASSES)

    def forward(self, X):
        return self.last(X * self.scale)


class Sequences(nn.Module):
    """A linear layer on sequences."""

    def __init__(self):
        super().__init__()
        self.each, self.last = nn.Linear(GENES // 4, 2), nn.Linear(8, CLASSES)

    def forward(self, X):
        return self.last(self.each(X.unflatten(1, (4, 3))).flatten(1))


def convolution():
    return nn.Sequential(nn.Unflatten(1, (1, GENES)), nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(20, CLASSES))


def shared_parameter():
    module = nn.Sequential(nn.Linear(GENES, GENES), nn.Tanh(), nn.Linear(GENES, GENES), nn.Linear(GENES, CLASSES))
    module[2].weight = module[0].weight
    return module


def two_places():
    layer = nn.Linear(GENES, GENES)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(GENES, CLASSES))


def encoder(dropout=0.0):
    return GenomicClassifier(GENES, CLASSES, widths=(16, 8), dropout=dropout)


def patients(n_rows=7, seed=1):
    torch.manual_seed(seed)
    return torch.randn(n_rows, GENES), torch.randint(CLASSES, (n_rows,)), torch.arange(n_rows)


def sums(module, rows, labels, owners, mode, bound=1.0):
    with simulation(seed=0):
        engine = engine_for(module, row_loss, noise_multiplier=0, max_grad_norm=bound, mode=mode)
        torch.manual_seed(9)  # of the dropout masks
        engine.gradients(rows, labels, owners=owners, normaliser=2.0)
    engine.release()
    return torch.cat([parameter.grad.double().flatten() for parameter in module.parameters()])


def near(found, expected, share=1e-5):
    return (found - expected).norm() <= share * expected.norm()


def make(module):
    torch.manual_seed(0)
    return module()


# agreement


@pytest.mark.parametrize("bound", [0.1, 1.0, 1e3])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("mode", MODES[1:])
def test_opacus_agrees_with_the_fast_engine(mode, dropout, bound):
    module, data = make(lambda: encoder(dropout)), patients()
    fast = sums(module, *data, "linear", bound)
    assert near(sums(module, *data, mode, bound), fast, 4e-5 if mode == "ghost" else 1e-5)
    assert not near(sums(module, *data, mode, 1.001 * bound), fast) or bound == 1e3


@pytest.mark.parametrize("mode", ["hooks", "functorch"])
def test_opacus_agrees_for_patients_with_several_rows(mode):
    module, (rows, labels, _) = make(encoder), patients()
    owners = torch.tensor([3, 0, 0, 1, 3, 3, 9])
    fast = sums(module, rows, labels, owners, "linear")
    assert near(sums(module, rows, labels, owners, mode), fast)
    assert not near(sums(module, rows, labels, torch.arange(7), mode), fast)


def test_ghost_clips_several_rows_harder_never_less():
    module, (rows, labels, _) = make(encoder), patients(4)
    owners = torch.zeros(4, dtype=torch.int64)
    ghost, exact = (sums(module, rows, labels, owners, mode, 0.5) for mode in ("ghost", "linear"))
    assert 0 < ghost.norm() < exact.norm() <= 0.5 / 2
    assert nn.functional.cosine_similarity(ghost, exact, dim=0) > 1 - 1e-5  # shorter, the same way


@pytest.mark.parametrize("module", [Twice, Own, Sequences, convolution, shared_parameter, two_places])
def test_other_modules_are_trained_by_opacus_as_autograd_says(module):
    module, (rows, labels, owners) = make(module), patients()
    expected = torch.zeros(sum(parameter.numel() for parameter in module.parameters()), dtype=torch.float64)
    for row in range(len(rows)):
        loss = row_loss(module(rows[row : row + 1]), labels[row : row + 1]).sum()
        gradient = torch.cat([g.double().flatten() for g in torch.autograd.grad(loss, list(module.parameters()))])
        expected += gradient * min(1.0, 0.3 / gradient.norm().item())
    assert near(sums(module, rows, labels, owners, "auto", 0.3), expected / 2)


@pytest.mark.parametrize("mode", MODES)
def test_nothing_but_the_released_sum_stays(mode):
    """Opacus leaves gradients of rows, and sums without noise, on parameters."""
    module, (rows, labels, owners) = make(encoder), patients()
    chance = torch.get_rng_state()
    engine = engine_for(module, row_loss, noise_multiplier=1e3, max_grad_norm=1.0, mode=mode)
    engine.gradients(rows, labels, owners=owners, normaliser=1.0)
    for parameter in module.parameters():
        left = {name: value for name, value in vars(parameter).items() if torch.is_tensor(value)}
        assert not left
        assert parameter.grad.std() > 300 or parameter.numel() < 20
    assert not any({"activations", "max_batch_len"} & set(vars(layer)) for layer in module.modules())
    module(torch.ones(2, GENES)).sum().backward()  # not the engine's
    engine.gradients(rows, labels, owners=owners, normaliser=1.0)
    engine.release()
    assert not any(layer._forward_hooks or layer._backward_hooks for layer in module.modules())
    assert not any(vars(parameter) for parameter in module.parameters())
    assert torch.equal(chance, torch.get_rng_state())
    module(rows).sum().backward()  # it is an ordinary module again
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        engine_for(module, row_loss, noise_multiplier=1.0, max_grad_norm=1.0, mode=mode).gradients(
            torch.zeros(7, 5), labels, owners=owners, normaliser=1.0
        )
    assert all(parameter.grad is None for parameter in module.parameters())


# choice


@pytest.mark.parametrize(
    ("module", "mode"),
    [
        (encoder, "linear"),
        (lambda: nn.Linear(GENES, CLASSES), "linear"),
        (Twice, "hooks"),
        (two_places, "hooks"),
        (shared_parameter, "hooks"),
        (Sequences, "hooks"),
        (convolution, "hooks"),
        (Changing, "hooks"),
        (Tied, "hooks"),
        (Own, "functorch"),
    ],
)
def test_the_engine_is_chosen_by_the_module(module, mode):
    module = make(module)
    engine = engine_for(module, row_loss, noise_multiplier=1.0, max_grad_norm=1.0)
    assert engine.mode == mode
    engine.release()
    if mode != "linear":
        with pytest.raises(ValueError, match=r"mode='linear' can train. Found that .* Use mode='auto'"):
            engine_for(module, row_loss, noise_multiplier=1.0, max_grad_norm=1.0, mode="linear")


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (Twice, "used once"),
        (two_places, "two places"),
        (shared_parameter, "share a parameter"),
        (Sequences, r"shape \(n_rows, n\)|forward pass fails"),
        (convolution, "Conv1d"),
        (Changing, "changed in place"),
        (Tied, "outside its layer"),
        (Own, "Own at 'the top' learns"),
        (encoder, "^$"),
    ],
)
def test_reasons(module, reason):
    module = make(module)
    assert re.search(reason, linear_obstacle(module))
    assert all(layer.training for layer in module.modules())


@pytest.mark.parametrize("mode", ["auto", *MODES[1:]])
def test_weights_that_are_used_elsewhere_are_refused(mode):
    """Opacus would leave a part of the gradient out; its ghost mode would add a part that it did not measure."""
    module, (rows, labels, owners) = make(Tied), patients()
    engine = engine_for(module, row_loss, noise_multiplier=1.0, max_grad_norm=1.0, mode=mode)
    with pytest.raises(ValueError, match="used elsewhere"):
        engine.gradients(rows, labels, owners=owners, normaliser=1.0)
    assert all(parameter.grad is None for parameter in module.parameters())
    engine.release()


# refusals


def build(module, **arguments):
    return engine_for(module, row_loss, **{"noise_multiplier": 1.0, "max_grad_norm": 1.0} | arguments)


@pytest.mark.parametrize("mode", ["auto", *MODES])
@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), r"BatchNorm1d at '1'.*GroupNorm\(.*affine=False"),
        (
            lambda: nn.Sequential(nn.Linear(4, 4), nn.InstanceNorm1d(4, track_running_stats=True)),
            "InstanceNorm1d .*track_running_stats=False",
        ),
        (lambda: nn.DataParallel(nn.Linear(4, 4)), "DataParallel"),
        (lambda: nn.Linear(4, 4).half(), r"float16 at 'weight'.*module.float\(\)"),
        (lambda: nn.Linear(4, 4).bfloat16(), "bfloat16"),
        (lambda: nn.Linear(4, 4).requires_grad_(False), "Unfreeze"),
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4).double()), "one dtype"),
        (lambda: nn.Tanh(), "Unfreeze"),
    ],
)
def test_modules_that_cannot_be_clipped_are_refused(module, message, mode):
    with pytest.raises(ValueError, match=message):
        build(module(), mode=mode)


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_lazy_modules_are_refused():
    with pytest.raises(ValueError, match="Run the module once"):
        build(nn.LazyLinear(3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "fast"}, "Expected mode"),
        ({"noise_multiplier": -1.0}, "Expected noise_multiplier"),
        ({"noise_multiplier": 0.0}, "outside simulation"),
        ({"max_grad_norm": 0.0}, "Expected max_grad_norm"),
        ({"max_grad_norm": float("inf")}, "Expected max_grad_norm"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        build(nn.Linear(4, 4), **arguments)


@pytest.mark.parametrize("mode", MODES)
def test_mixed_precision_is_refused(mode):
    engine, (rows, labels, owners) = build(make(encoder), mode=mode), patients()
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(ValueError, match="autocast"):
        engine.gradients(rows, labels, owners=owners, normaliser=1.0)
    try:
        torch.set_float32_matmul_precision("medium")
        with pytest.raises(ValueError, match="set_float32_matmul_precision"):
            engine.gradients(rows, labels, owners=owners, normaliser=1.0)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert all(parameter.grad is None for parameter in engine.module.parameters())


@pytest.mark.parametrize("mode", MODES[1:])
def test_opacus_needs_training_mode(mode):
    engine, (rows, labels, owners) = build(make(encoder), mode=mode), patients()
    engine.module.head.eval()
    with pytest.raises(ValueError, match=r"training mode .*Linear in evaluation mode.*module.train"):
        engine.gradients(rows, labels, owners=owners, normaliser=1.0)


def test_rows_and_owners_must_fit_and_messages_tell_no_counts():
    rows, labels, owners = patients(7)
    engine = build(make(encoder))
    for wrong in (owners[:6], owners.float(), owners[:, None]):
        with pytest.raises(ValueError, match=r"^[^0-57-9]*int64[^0-9]*$"):
            engine.gradients(rows, labels, owners=wrong, normaliser=1.0)
    with pytest.raises(ValueError, match="Expected normaliser"):
        engine.gradients(rows, labels, owners=owners, normaliser=0.0)
    mean = engine_for(make(encoder), nn.CrossEntropyLoss(), noise_multiplier=1.0, max_grad_norm=1.0)
    with pytest.raises(ValueError, match=r"^[^0-9]*reduction='none'[^0-9]*$"):
        mean.gradients(rows, labels, owners=owners, normaliser=1.0)
