"""Clipped sums: equal to what autograd says patient by patient, and no patient moves them by more than the bound.

False-alarm rate 1e-6 for the noise. At 200,000 draws a noise 10% too small lifts chi-square by 0.19 n, 60 standard
deviations.
"""

import copy
import math

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from scipy.stats import chi2

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from skdpal.estimators.neural import clipping, noisy_sum  # noqa: E402
from skdpal.estimators.neural.adapters import adapt  # noqa: E402
from skdpal.estimators.neural.engines import engine_for  # noqa: E402
from skdpal.estimators.neural.modules import GenomicClassifier  # noqa: E402
from skdpal.privacy.randomness import simulation  # noqa: E402

ALARM = 1e-6
GENES, CLASSES = 12, 3
row_loss = nn.CrossEntropyLoss(reduction="none")


class Residual(nn.Module):
    """A forward pass of its own around known layers."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(GENES, GENES), nn.LayerNorm(GENES)
        self.last = nn.Linear(2 * GENES, CLASSES)

    def forward(self, X):
        return self.last(torch.cat([X, X + self.norm(self.first(X)).tanh()], dim=1))


def adapted():
    module = GenomicClassifier(GENES, CLASSES, widths=(16, 8))
    adapt(module, rank=2)
    nn.init.normal_(module.encoder.layers[0].up.weight)
    return module


def frozen():
    module = GenomicClassifier(GENES, CLASSES, widths=(16, 8, 8))
    module.encoder.layers[0].requires_grad_(False)
    module.encoder.layers[3].weight.requires_grad_(False)  # its bias learns
    return module


MODULES = {
    "encoder": lambda: GenomicClassifier(GENES, CLASSES, widths=(16, 8)),
    "one layer": lambda: nn.Linear(GENES, CLASSES),
    "no bias": lambda: nn.Sequential(nn.Linear(GENES, 8, bias=False), nn.Tanh(), nn.Linear(8, CLASSES, bias=False)),
    "affine norms": lambda: nn.Sequential(
        nn.LayerNorm(GENES),
        nn.Linear(GENES, 8),
        nn.GroupNorm(2, 8),
        nn.GELU(),
        nn.Linear(8, 8),
        nn.LayerNorm(8, bias=False),
        nn.Linear(8, CLASSES),
    ),
    "norms of images": lambda: nn.Sequential(
        nn.Unflatten(1, (4, 3)), nn.GroupNorm(2, 4), nn.LayerNorm(3), nn.Flatten(), nn.Linear(GENES, CLASSES)
    ),
    "in place": lambda: nn.Sequential(
        nn.Linear(GENES, 8), nn.ReLU(inplace=True), nn.Linear(8, 8), nn.SELU(inplace=True), nn.Linear(8, CLASSES)
    ),
    "residual": Residual,
    "adapters": adapted,
    "frozen": frozen,
    "head only": lambda: GenomicClassifier(GENES, CLASSES, widths=(16, 8)).requires_grad_(False),
}


def build(name, dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    module = MODULES[name]().to(dtype)
    if name == "head only":
        module.head.requires_grad_(True)
    for layer in module.modules():
        if isinstance(layer, nn.GroupNorm | nn.LayerNorm):
            for parameter in layer.parameters(recurse=False):
                nn.init.normal_(parameter)  # also negative, and near zero
    return module


def patients(n_rows, n_patients, dtype=torch.float32, size=1.0, seed=1):
    """Rows of patients who may have several."""
    torch.manual_seed(seed)
    owners = torch.arange(n_rows) % max(n_patients, 1)
    return (
        size * torch.randn(n_rows, GENES, dtype=dtype),
        torch.randint(CLASSES, (n_rows,)),
        owners[torch.randperm(n_rows)],
    )


def learning(module):
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def sums(module, rows, labels, owners, bound=1.0, normaliser=1.0, mode="linear", loss=row_loss):
    """The clipped sum without noise, in double precision, flat."""
    with simulation(seed=0):
        engine = engine_for(module, loss, noise_multiplier=0, max_grad_norm=bound, mode=mode)
        engine.gradients(rows, labels, owners=owners, normaliser=normaliser)
    gradients = [parameter.grad.double().flatten() for parameter in learning(module)]
    engine.release()
    return torch.cat(gradients)


def by_autograd(module, rows, labels, owners, bound=1.0):
    """One backward pass for each patient, in double precision."""
    module = copy.deepcopy(module).double()
    total = torch.zeros(sum(parameter.numel() for parameter in learning(module)), dtype=torch.float64)
    for patient in owners.unique():
        own = owners == patient
        loss = row_loss(module(rows[own].double()), labels[own]).sum()
        gradient = torch.cat([part.flatten() for part in torch.autograd.grad(loss, learning(module))])
        total += gradient * min(1.0, bound / gradient.norm().item())
    return total


def near(found, expected, share=1e-5):
    return (found - expected).norm() <= share * expected.norm()


# the sum


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows_and_patients", [(1, 1), (7, 7), (9, 4), (6, 1)], ids=str)
@pytest.mark.parametrize("name", MODULES)
def test_the_sum_is_that_of_autograd(name, rows_and_patients, dtype):
    module, data = build(name, dtype), patients(*rows_and_patients, dtype)
    for bound in (0.1, 2.0, 1e3):  # all clipped; some; none
        assert near(sums(module, *data, bound), by_autograd(module, *data, bound))


def test_the_comparison_would_see_an_error_of_a_thousandth():
    module, data = build("encoder"), patients(9, 4)
    expected = by_autograd(module, *data)
    assert not near(1.001 * sums(module, *data), expected)
    assert not near(sums(module, *data[:2], torch.arange(9)), expected)  # rows for patients
    assert not near(sums(module, *data, bound=1.01), expected)


def test_the_normaliser_divides():
    module, data = build("encoder"), patients(9, 4)
    assert near(4.0 * sums(module, *data, normaliser=4.0), sums(module, *data), 1e-6)


def test_what_is_not_clipped_is_the_plain_gradient():
    module, (rows, labels, owners) = build("encoder"), patients(9, 4)
    found = sums(module, rows, labels, owners, bound=1e6)
    plain = torch.autograd.grad(row_loss(module(rows), labels).sum(), learning(module))
    assert near(found, torch.cat([part.double().flatten() for part in plain]), 1e-6)


def test_a_clipped_patient_has_the_bound_and_not_more():
    for seed in range(20):
        module, data = build("encoder", seed=seed), patients(5, 1, size=10.0, seed=seed)
        assert 1 - 1e-4 < sums(module, *data, bound=0.5).norm() / 0.5 <= 1


def test_nobody_is_noise_only():
    module = build("encoder")
    rows, labels, owners = patients(0, 0)
    assert not sums(module, rows, labels, owners).any()


def test_frozen_parameters_get_nothing_and_backward_stops_above_them():
    module, data = build("head only"), patients(5, 5)
    seen = []
    module.encoder.layers[-1].register_full_backward_hook(lambda *_: seen.append(1))
    sums(module, *data)
    assert not seen
    assert all(parameter.grad is None for parameter in module.encoder.parameters())
    everything = build("encoder")
    everything.encoder.layers[-1].register_full_backward_hook(lambda *_: seen.append(1))
    sums(everything, *data)
    assert seen  # the hook would have told


def test_the_first_layer_computes_no_gradient_by_its_input():
    module, (rows, labels, owners) = build("encoder"), patients(5, 5)
    rows.requires_grad_(True)
    sums(module, rows, labels, owners)
    assert rows.grad is None


# rows that are not finite


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e38])
@pytest.mark.parametrize("mode", ["linear", "hooks", "functorch", "ghost"])
def test_a_row_that_is_not_finite_adds_nothing(bad, mode):
    module, (rows, labels, owners) = build("encoder"), patients(6, 6)
    kept = torch.arange(6) != 2
    expected = sums(module, rows[kept], labels[kept], owners[kept], mode=mode)
    rows[2, 3] = bad
    found = sums(module, rows, labels, owners, mode=mode)
    assert found.isfinite().all()
    assert near(found, expected)


def test_the_patient_s_other_rows_stay():
    module, (rows, labels, _) = build("encoder"), patients(6, 6)
    owners = torch.tensor([0, 0, 1, 1, 2, 2])
    kept = torch.arange(6) != 3
    expected = sums(module, rows[kept], labels[kept], owners[kept])
    rows[3] = math.nan
    assert near(sums(module, rows, labels, owners), expected)


def test_a_loss_that_is_not_finite_adds_nothing():
    module, (rows, labels, owners) = build("encoder"), patients(4, 4)

    def loss(outputs, targets):
        return row_loss(outputs, targets) * torch.tensor([1.0, math.inf, 1.0, 1.0])

    expected = by_autograd(module, rows[[0, 2, 3]], labels[[0, 2, 3]], owners[[0, 2, 3]])
    assert near(sums(module, rows, labels, owners, loss=loss), expected)


# what one patient moves


def moved(module, data, bound, mode="linear"):
    """The most that taking away a patient moves the sum, in units of the bound."""
    rows, labels, owners = data
    together = sums(module, *data, bound, mode=mode)
    most = 0.0
    for patient in owners.unique():
        others = owners != patient
        without = sums(module, rows[others], labels[others], owners[others], bound, mode=mode)
        most = max(most, ((together - without).norm() / bound).item())
    return most


def opposites(size=1e4):
    """A patient whose rows all but cancel, beside an ordinary one."""
    torch.manual_seed(3)
    one = size * torch.randn(1, GENES)
    rows = torch.cat([one, one * (1 + 1e-5), torch.randn(1, GENES)])
    return rows, torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])


def flat_layer():
    module = nn.Linear(GENES, 2)
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)
    return module


def worst():
    """Over modules and patients that have broken such code."""
    cases = [(build("encoder", seed=s), patients(6, 3, size=30.0, seed=s)) for s in range(3)]
    cases += [(build("one layer"), patients(4, 4, size=1e-3))]  # the bias is all
    cases += [(flat_layer(), opposites(size)) for size in (1e2, 1e3, 1e4)]
    rows, _, owners = patients(6, 6, size=1e37)
    cases += [(flat_layer(), (rows, owners % 2, owners))]
    return max(moved(module, data, bound) for module, data in cases for bound in (1e-3, 0.3))


def test_no_patient_moves_the_sum_by_more_than_the_bound():
    assert 1 - 1e-4 < worst() <= 1 + 1e-6


@pytest.mark.parametrize(
    "fault", ["rows are clipped, not patients", "the bias is forgotten", "single precision", "subnormal"]
)
def test_a_planted_fault_is_found(monkeypatch, fault):
    if fault.startswith("rows"):
        init = noisy_sum.PatientFactors.__init__
        monkeypatch.setattr(
            noisy_sum.PatientFactors,
            "__init__",
            lambda self, squares, owners: init(self, squares, torch.arange(len(owners))),
        )
    elif fault.startswith("the bias"):
        monkeypatch.setattr(clipping.Rows, "squares", lambda self: torch.zeros(len(self.values)).double())
        monkeypatch.setattr(
            clipping.Rows, "products", lambda self: torch.zeros(len(self.values), len(self.values)).double()
        )
    elif fault == "subnormal":  # a row of 1e37 times a factor of 1e-41
        monkeypatch.setattr(noisy_sum, "_LONGEST", 1e150)
    else:
        monkeypatch.setattr(noisy_sum, "_ROUNDING", 0.0)
        monkeypatch.setattr(clipping, "_products", lambda values: values @ values.T)
    assert worst() > 1 + 1e-6


@settings(max_examples=25)
@given(
    name=st.sampled_from(sorted(MODULES)),
    n_rows=st.integers(1, 8),
    n_patients=st.integers(1, 8),
    log_size=st.floats(-4, 4),
    log_bound=st.floats(-4, 2),
    seed=st.integers(0, 2**16),
)
def test_the_bound_holds_for_any_module_and_patients(name, n_rows, n_patients, log_size, log_bound, seed):
    module = build(name, seed=seed)
    data = patients(n_rows, n_patients, size=10**log_size, seed=seed)
    assert moved(module, data, bound=10**log_bound) <= 1 + 1e-6


# noise


def variances_fit(gradients, scale):
    """A chi-square test for each parameter."""
    for draws in gradients:
        statistic = (draws.double() / scale).square().sum().item()
        if 2 * min(chi2.cdf(statistic, draws.numel()), chi2.sf(statistic, draws.numel())) < ALARM:
            return False
    return True


@pytest.mark.parametrize("mode", ["linear", "hooks", "functorch", "ghost"])
def test_every_parameter_gets_its_noise(mode, monkeypatch):
    module, (rows, labels, owners) = nn.Sequential(nn.Linear(400, 500), nn.Tanh(), nn.Linear(500, 3)), patients(0, 0)
    rows = torch.zeros(0, 400)

    def drawn():
        engine = engine_for(module, row_loss, noise_multiplier=1.7, max_grad_norm=0.4, mode=mode)
        draws = []
        for _ in range(20):
            engine.gradients(rows, labels, owners=owners, normaliser=8.0)
            draws.append([parameter.grad.flatten().clone() for parameter in learning(module)])
        engine.release()
        return [torch.cat(parts) for parts in zip(*draws, strict=True)]

    scale = 1.7 * 0.4 / 8.0
    draws = drawn()
    assert variances_fit(draws, scale)
    assert len(torch.cat([part.view(20, -1)[:, :3].flatten() for part in draws]).unique()) == 4 * 20 * 3  # always fresh
    fill = noisy_sum.fill_with_gaussian_noise
    monkeypatch.setattr(noisy_sum, "fill_with_gaussian_noise", lambda total, scale: fill(total, 0.9 * scale))
    assert not variances_fit(drawn(), scale)


def test_noise_and_sum_are_added():
    module, data = build("encoder"), patients(6, 6)
    engine = engine_for(module, row_loss, noise_multiplier=1e-6, max_grad_norm=1.0)
    expected = by_autograd(module, *data)
    for _ in range(2):  # nothing piles up
        engine.gradients(*data[:2], owners=data[2], normaliser=1.0)
        found = torch.cat([parameter.grad.double().flatten() for parameter in learning(module)])
        assert 0 < (found - expected).norm() < 1e-4


def test_no_noise_only_inside_a_simulation():
    module, data = build("encoder"), patients(6, 6)
    with pytest.raises(ValueError, match="noise_multiplier above 0 outside simulation"):
        engine_for(module, row_loss, noise_multiplier=0, max_grad_norm=1.0)
    with simulation(seed=0):
        engine = engine_for(module, row_loss, noise_multiplier=0, max_grad_norm=1.0)
    with pytest.raises(ValueError, match="noise_multiplier above 0 outside simulation"):
        engine.gradients(*data[:2], owners=data[2], normaliser=1.0)
    assert all(parameter.grad is None for parameter in module.parameters())


# buffers and hooks


def test_buffers_are_used_again_and_shared_with_nobody():
    module, data = build("encoder"), patients(6, 6)
    engine = engine_for(module, row_loss, noise_multiplier=1.0, max_grad_norm=1.0)
    foreign = torch.zeros_like(module.head.weight)
    module.head.weight.grad = foreign
    places, first = [], None
    for _ in range(2):
        engine.gradients(*data[:2], owners=data[2], normaliser=1.0)
        places.append([parameter.grad.data_ptr() for parameter in learning(module)])
        first = [parameter.grad.clone() for parameter in learning(module)] if first is None else first
        for parameter in module.parameters():
            parameter.grad = None  # as optimizers do
    assert places[0] == places[1]
    assert len(set(places[0])) == len(places[0])
    assert not foreign.any()
    engine.gradients(*data[:2], owners=data[2], normaliser=1.0)
    assert all((a != p.grad).any() for a, p in zip(first, learning(module), strict=True))


@pytest.mark.parametrize("name", ["encoder", "affine norms"])
def test_the_module_stays_as_it_was(name):
    module, data = build(name), patients(6, 6)
    before = [(type(m), list(m._forward_hooks), m.training, sorted(vars(m))) for m in module.modules()]
    weights = copy.deepcopy(module.state_dict())
    chance = torch.get_rng_state()
    engine = engine_for(module, row_loss, noise_multiplier=1.0, max_grad_norm=1.0)
    engine.gradients(*data[:2], owners=data[2], normaliser=1.0)
    engine.release()
    after = [(type(m), list(m._forward_hooks), m.training, sorted(vars(m))) for m in module.modules()]
    assert before == after
    assert all(torch.equal(weights[key], value) for key, value in module.state_dict().items())
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert torch.equal(chance, torch.get_rng_state())


def test_hooks_go_when_the_forward_pass_fails():
    module, (_, labels, owners) = build("encoder"), patients(6, 6)
    engine = engine_for(module, row_loss, noise_multiplier=1.0, max_grad_norm=1.0)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        engine.gradients(torch.zeros(6, GENES + 1), labels, owners=owners, normaliser=1.0)
    assert not any(layer._forward_hooks for layer in module.modules())
    assert all(parameter.grad is None for parameter in module.parameters())
