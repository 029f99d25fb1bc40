from dataclasses import replace

import pytest
import torch
from torch import nn

import seqebm
from seqebm.data import Sequence, Sequences
from seqebm.learning import load_training
from seqebm.learning.recipes import (
    MODELS,
    RECURRENT,
    Recipe,
    build_model,
    make_data,
    make_recipe,
)
from seqebm.learning.training import (
    make_corruption,
    make_optimizer,
    make_schedules,
    mean_frame,
    pretrain_cell,
    pretrain_weight,
    train,
)

TINY = Recipe(
    hidden=3,
    layers="trbm:3,rtrbm:3",
    steps=3,
    batch=2,
    gibbs_steps="2",
    balls=1,
    resolution=4,
    length=4,
)
ENERGY = ("rbm", "trbm", "rtrbm")


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def tiny(model, **changes):
    if model.startswith("stacked"):
        changes["layers"] = "mrnn:2,gru:1"
    if model.startswith("memory-lstm"):
        changes["state"] = 4
        changes["hidden"] = 4 if model == "memory-lstm" else 3
    return replace(TINY, model=model, **changes)


def videos(n=5, visible=4):
    """Sequences of different lengths."""
    frames = torch.rand(n, 6, visible, generator=generator()).round()
    return Sequences(Sequence(one[: 2 + i]) for i, one in enumerate(frames))


def equal(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --- recipes from text -----------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_a_recipe_without_settings_is_the_default_one(model):
    assert make_recipe(model, None, {}) == Recipe(model=model)


def test_settings_are_parsed_to_the_types_of_the_keys():
    texts = {
        "hidden": "7",
        "order": "2",
        "connections": "hh,vv",
        "visible": "gaussian",
        "lr": "1e-2",
        "average": "0.99",
        "gibbs_steps": "0:1,5:3",
    }
    recipe = make_recipe("trbm", None, texts)
    assert recipe == Recipe(
        "trbm",
        7,
        None,
        2,
        "hh,vv",
        visible="gaussian",
        lr=0.01,
        average=0.99,
        gibbs_steps="0:1,5:3",
    )
    assert type(recipe.hidden) is type(recipe.order) is int
    assert type(recipe.lr) is float


def test_the_preset_of_the_thesis():
    """Sutskever 2013, sec. 3.11.3: 400 hidden units, no visible taps, CD-10, then CD-25."""
    recipe = make_recipe("trbm", "thesis-balls", {})
    assert (recipe.hidden, recipe.connections) == (400, "hh")
    assert (recipe.steps, recipe.batch) == (100_000, 1)
    assert (recipe.optimizer, recipe.lr, recipe.lr_end, recipe.momentum) == ("sgd", 0.01, 0.0, 0.9)
    assert recipe.pretrain == 30
    schedule = make_schedules(build_model(replace(recipe, hidden=3), 4), recipe)["gibbs_steps"]
    assert [schedule(step) for step in (0, 999, 1000, 99_999)] == [10, 10, 25, 25]
    assert (recipe.balls, recipe.resolution, recipe.length) == (3, 30, 100)


def test_settings_go_before_the_preset():
    recipe = make_recipe("rtrbm", "thesis-balls", {"hidden": "5", "optimizer": "adam"})
    assert (recipe.model, recipe.hidden, recipe.optimizer) == ("rtrbm", 5, "adam")
    assert recipe.batch == 1


def test_unknown_models_and_presets_are_refused():
    with pytest.raises(ValueError, match=r"model: expected one of rbm, trbm, .*, got 'gan'"):
        make_recipe("gan", None, {})
    with pytest.raises(ValueError, match=r"preset: expected one of .*thesis-balls.*, got 'best'"):
        make_recipe("rbm", "best", {})


@pytest.mark.parametrize("key", ["speed", "model", "", "__class__"])
def test_unknown_keys_are_refused(key):
    with pytest.raises(
        ValueError, match=f"unknown key '{key}'; the keys are hidden, state, order, .*length"
    ):
        make_recipe("rbm", None, {key: "1"})


@pytest.mark.parametrize(
    ("key", "text"),
    [("hidden", "many"), ("hidden", "1.5"), ("hidden", ""), ("order", "None"), ("lr", "fast")],
)
def test_values_of_a_wrong_type_are_refused(key, text):
    with pytest.raises(ValueError, match=f"{key}: expected .*, got '{text}'"):
        make_recipe("trbm", None, {key: text})


# --- models ----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("visible", ["bernoulli", "gaussian:learned"])
def test_every_model_is_built(model, visible):
    if visible != "bernoulli" and model.endswith("nade"):
        with pytest.raises(ValueError, match=f"visible: expected bernoulli for a {model}, got"):
            build_model(tiny(model, visible=visible), 4)
        return
    built = build_model(tiny(model, visible=visible), 4)
    kinds = {
        "rbm": seqebm.RBM,
        "trbm": seqebm.TRBM,
        "rtrbm": seqebm.RTRBM,
        "stack": seqebm.Stack,
    }
    recurrent = seqebm.RNNRBM if model.endswith("-rbm") else seqebm.RNN
    assert type(built) is kinds.get(model, recurrent)
    assert built.visible.spec == visible
    width = 4 if model.startswith("memory-lstm") else 3
    assert built.filter(torch.zeros(1, 2, 4)).shape == (1, 2, width)
    if model in RECURRENT:
        kind, _ = RECURRENT[model]
        assert built.cell.settings["kind"] == kind


def test_what_a_network_drives_has_a_size_of_its_own():
    machine = build_model(tiny("lstm-rbm", state=7), 4)
    assert (machine.cell.hidden_size, tuple(machine.weight.shape)) == (7, (3, 4))
    nade = build_model(tiny("gru-nade", state=7), 4)
    assert (nade.cell.hidden_size, nade.output.spec) == (7, "nade:3")
    assert build_model(tiny("rnn-orderless-nade"), 4).output.spec == "orderless-nade:3"


def test_what_a_recipe_says_of_a_reservoir():
    own = {"radius": 0.5, "leak": 0.3, "density": 0.4, "input_scale": 0.2}
    recipe = tiny("esn-rbm", state=5, **own)
    cell = build_model(recipe, 4).cell
    assert cell.settings == {"kind": "esn", "input_size": 4, "hidden_size": 5, **own}
    stacked = build_model(replace(recipe, model="stacked", layers="esn:5,gru:2"), 4).cell
    assert stacked.layers[0].settings == cell.settings


@pytest.mark.parametrize("model", ["rnn", "lstm-rbm", "mrnn", "esn", "stacked-nade"])
def test_what_recurrent_matrices_begin_as(model):
    for matrix in build_model(tiny(model, recurrence="identity"), 4).cell.recurrent_matrices():
        assert torch.equal(matrix, torch.eye(*matrix.shape))
    for matrix in build_model(tiny(model, recurrence="orthogonal"), 4).cell.recurrent_matrices():
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix)))
    for matrix in build_model(tiny(model, recurrence="echo"), 4).cell.recurrent_matrices():
        assert torch.linalg.eigvals(matrix).abs().max() == pytest.approx(1.1, rel=1e-4)


def test_a_trained_model_draws_by_tempering_where_the_recipe_says_so():
    trained, _ = train(tiny("rnn-rbm", rungs=4, keep_every=2), progress=False)
    assert (trained.sampling_rungs, trained.keep_every) == (4, 2)
    plain, _ = train(tiny("rnn-rbm"), progress=False)
    assert all(map(torch.equal, trained.parameters(), plain.parameters()))


def test_order_and_connections_reach_the_model():
    assert build_model(tiny("trbm"), 4).order == 1
    assert build_model(tiny("rtrbm"), 4).order == 0
    assert build_model(tiny("rtrbm", order=2), 4).order == 2
    trbm = build_model(tiny("trbm", order=3, connections="hh,vv"), 4)
    assert trbm.order == 3
    assert trbm.settings["connections"] == ["hh", "vv"]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (tiny("trbm", order=0), "order: expected at least 1, got 0"),
        (tiny("rtrbm", order=-1), "order: expected at least 0, got -1"),
        (tiny("trbm", connections="hh,up"), "connections: expected some of"),
        (tiny("trbm", connections=""), "connections: expected some of"),
        (tiny("rbm", visible="poisson"), "units: expected one of"),
        (tiny("rbm", hidden=0), "n_hidden: expected at least 1, got 0"),
        (tiny("rnn", hidden=0), "hidden"),
        (tiny("rbm", held_at_zero="bias"), "held_at_zero: expected some of weight, .* got 'bias'"),
        (tiny("rtrbm", held_at_zero="initial_visible"), "held_at_zero: .*got 'initial_visible'"),
    ],
)
def test_settings_that_no_model_can_have_are_refused(recipe, message):
    with pytest.raises(ValueError, match=message):
        build_model(recipe, 4)


HELD = "initial_hidden,hidden_bias"


@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("model", ["trbm", "rtrbm"])
def test_parameters_that_are_held_stay_zero(model, optimizer, average):
    settings = {"lr": 0.1, "pretrain": 2, "average": average, "clip": 1.0}
    recipe = tiny(model, held_at_zero=HELD, optimizer=optimizer, **settings)
    start = build_model(recipe, 16)
    trained, _ = train(recipe)
    for name in HELD.split(","):
        assert not getattr(start, name).any()
        assert not getattr(trained, name).any()
    assert bool(trained.visible_bias.any())
    free, _ = train(replace(recipe, held_at_zero=""))
    assert all(bool(getattr(free, name).any()) for name in HELD.split(","))


# --- optimisers, schedules, data -------------------------------------------------------------


def test_optimisers():
    model = build_model(tiny("rtrbm", held_at_zero="hidden_bias"), 4)
    adam = make_optimizer(model, tiny("rtrbm", lr=0.3))
    assert type(adam) is torch.optim.AdamW
    assert adam.param_groups[0]["lr"] == 0.3
    sgd = make_optimizer(model, tiny("rtrbm", optimizer="sgd", lr=0.3, momentum=0.7))
    assert type(sgd) is torch.optim.SGD
    assert (sgd.param_groups[0]["lr"], sgd.param_groups[0]["momentum"]) == (0.3, 0.7)
    trained = {id(p) for group in sgd.param_groups for p in group["params"]}
    assert trained == {id(p) for n, p in model.named_parameters() if n != "hidden_bias"}
    with pytest.raises(ValueError, match="optimizer: expected one of adam, sgd, hf, got 'lbfgs'"):
        make_optimizer(model, tiny("rtrbm", optimizer="lbfgs"))


def test_the_learning_rate_falls_in_a_straight_line():
    recipe = tiny("rnn", steps=10, lr=1.0, lr_end=0.5)
    schedules = make_schedules(build_model(recipe, 4), recipe)
    assert set(schedules) == {"lr"}
    assert [schedules["lr"](step) for step in (0, 5, 10)] == pytest.approx([1.0, 0.75, 0.5])


@pytest.mark.parametrize(
    ("text", "expected"),
    [("7", [7, 7, 7]), ("0:10,1000:25", [10, 10, 25]), ("1000:25,0:1,5:2", [1, 2, 25])],
)
def test_gibbs_steps_are_a_number_or_pairs(text, expected):
    recipe = tiny("rbm", gibbs_steps=text)
    schedule = make_schedules(build_model(recipe, 4), recipe)["gibbs_steps"]
    assert [schedule(step) for step in (0, 999, 1000)] == expected


@pytest.mark.parametrize(
    "text", ["", "many", "2.5", "5:10", "0:1:2", "0:a", "0:1,", "0:1;5:2", ":"]
)
def test_bad_gibbs_steps_are_refused(text):
    with pytest.raises(ValueError, match=f"gibbs_steps: expected a number or pairs .*got '{text}'"):
        tiny("rbm", gibbs_steps=text)


def test_data_are_minibatches_or_balls():
    frames, lengths = make_data(TINY, videos())(0)
    assert len(frames) == len(lengths) == 2
    balls = make_data(TINY, None)
    assert balls(0).shape == (2, 4, 16)
    assert torch.equal(balls(3), make_data(TINY, None)(3))
    assert not torch.equal(balls(3), make_data(replace(TINY, seed=2), None)(3))


# --- the start -------------------------------------------------------------------------------


def test_the_mean_frame_leaves_padding_out():
    data = [torch.full((2, 3, 4), 0.5), (torch.ones(2, 3, 4), torch.tensor([1, 2]))]
    mean = mean_frame(lambda step: data[step % 2])
    torch.testing.assert_close(mean, torch.full((4,), (6 * 0.5 + 3) / 9))


@pytest.mark.parametrize("model", MODELS)
def test_training_starts_at_the_mean_of_the_data(model):
    mean = mean_frame(make_data(TINY, videos()))
    for wanted in (True, False):
        built, _ = train(tiny(model, start_at_mean=wanted, steps=1, lr=0.0), videos())
        assert torch.equal(built.output_bias, built.visible.input_for(mean)) == wanted


def test_the_thesis_starts_near_zero():
    assert not make_recipe("rtrbm", "thesis-balls", {}).start_at_mean


# --- pre-training ----------------------------------------------------------------------------


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian:learned"])
@pytest.mark.parametrize("model", ENERGY)
def test_pretraining_changes_the_weight_and_nothing_else(model, visible):
    built = build_model(tiny(model, visible=visible), 4)
    before = {name: value.clone() for name, value in built.state_dict().items()}
    weight, parameters = built.weight, dict(built.named_parameters())
    pretrain_weight(built, make_data(TINY, videos()), 3, generator())
    assert built.weight is weight
    assert dict(built.named_parameters()).keys() == parameters.keys()
    for name, value in built.state_dict().items():
        assert torch.equal(value, before[name]) == (name != "weight"), name
    assert built.gibbs_steps == 10


def test_pretraining_is_static_contrastive_divergence():
    """One step with chains that never move gives no gradient: W is learned by CD only."""
    built = build_model(tiny("rtrbm"), 4)
    nn.init.zeros_(built.weight)
    constant = torch.ones(2, 3, 4)  # the same in all frames: all pixels go on together
    pretrain_weight(built, lambda _: constant, 40, generator())
    assert bool((built.weight > 0).all())


def test_pretraining_needs_an_rbm():
    with pytest.raises(ValueError, match="pretrain: a RNN has no RBM weights to pre-train"):
        train(tiny("lstm", pretrain=1), videos())


def test_pretraining_takes_its_randomness_from_the_generator():
    weights = []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            built = build_model(tiny("rtrbm"), 4)
            torch.manual_seed(seed)
            pretrain_weight(built, make_data(TINY, videos()), 2, generator())
        weights.append(built.weight.detach())
    assert torch.equal(*weights)


@pytest.mark.parametrize("model", ["lstm-rbm", "rnn-nade", "gru-orderless-nade"])
def test_a_network_is_trained_as_a_predictor_beforehand(model):
    """With no weights to hidden units the model is then the predictor."""
    built = build_model(tiny(model), 4)
    data = make_data(TINY, videos())
    before = built.cell.network.weight_hh_l0.clone()
    pretrain_cell(built, data, 5, 0.05)
    assert not torch.equal(before, built.cell.network.weight_hh_l0)
    weight = built.state_to_visible if model.endswith("-rbm") else built.readout.weight[:4]
    assert weight.abs().max() > 0.01
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if name in ("weight", "output.output_weight"):
                parameter.zero_()
    predictor = seqebm.RNN(built.cell)
    predictor.readout.weight = nn.Parameter(weight.detach().clone())
    predictor.readout.bias = nn.Parameter(built.output_bias.detach().clone())
    frames, lengths = videos().padded()
    torch.testing.assert_close(built.log_prob(frames, lengths), predictor.log_prob(frames, lengths))


def test_training_beforehand_makes_a_better_predictor():
    frames = torch.eye(4).repeat(8, 3, 1)  # one unit after the other
    recipe = tiny("rnn-rbm", hidden=8, steps=1, lr=0.05)
    sequences = Sequences.from_frames(frames)
    plain, _ = train(recipe, sequences)
    better, _ = train(replace(recipe, pretrain_cell=60), sequences)
    errors = [float((model.predict(frames) - frames).square().sum()) for model in (plain, better)]
    assert errors[1] < 0.5 * errors[0]


def test_only_a_recurrent_network_is_trained_as_a_predictor():
    with pytest.raises(ValueError, match="pretrain_cell: a RTRBM has no recurrent network"):
        train(tiny("rtrbm", pretrain_cell=1), videos())


# --- training --------------------------------------------------------------------------------


def test_grey_levels_are_drawn_anew_at_every_step():
    grey = Sequences.from_frames(torch.tensor([0.0, 0.2, 0.5, 1.0]).expand(3, 50, 4))
    data = make_data(replace(TINY, binarise=True, batch=3), grey)
    first, again, other = data(0), data(0), data(1)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    mean = torch.cat([data(step) for step in range(40)]).mean((0, 1))
    assert mean[[0, 3]].tolist() == [0.0, 1.0]
    torch.testing.assert_close(mean[1:3], torch.tensor([0.2, 0.5]), rtol=0, atol=0.03)
    ragged, lengths = make_data(replace(TINY, binarise=True), videos())(0)
    assert len(ragged) == len(lengths)


def test_persistent_chains_are_a_key_of_an_rbm():
    trained, _ = train(tiny("rbm", chains=7), videos())
    assert trained.chains.shape == (7, 4)
    with pytest.raises(ValueError, match="chains: a RTRBM has no persistent chains"):
        train(tiny("rtrbm", chains=7), videos())


def test_sequences_can_be_cut_into_windows():
    _, history = train(tiny("rtrbm", window=3), videos())
    assert history[-1]["step"] == 3
    frames, lengths = make_data(replace(TINY, window=3), videos())(0)
    assert frames.shape[1] == int(lengths.max()) <= 3


@pytest.mark.parametrize("changes", [{}, {"window": 3}, {"stride": 2}, {"persistent": True}])
def test_backwards_is_forwards_on_reversed_sequences(changes):
    recipe = tiny("rtrbm", lr=0.1, **changes)
    mirrored = Sequences(Sequence(one.frames[range(len(one))[::-1]]) for one in videos())
    backwards, _ = train(replace(recipe, backwards=True), videos())
    assert equal(backwards, train(recipe, mirrored)[0])
    assert not equal(backwards, train(recipe, videos())[0])


def test_only_data_from_a_file_are_learned_backwards():
    with pytest.raises(ValueError, match="backwards: goes with data from a file"):
        train(replace(TINY, backwards=True))


@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_on_balls(model):
    trained, history = train(tiny(model))
    assert trained.visible.size == 16
    assert [record["step"] for record in history] == [3] * (2 if model == "stack" else 1)
    start, _ = train(tiny(model, steps=1, lr=0.0))
    assert not equal(trained, start)
    assert trained.sample(2).shape == (1, 2, 16)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_on_ragged_sequences(model):
    trained, history = train(tiny(model), videos())
    assert trained.visible.size == 4
    assert history[-1]["step"] == 3
    assert all(bool(p.isfinite().all()) for p in trained.parameters())


@pytest.mark.parametrize("model", ["trbm", "rtrbm"])
def test_the_preset_of_the_thesis_trains(model):
    small = {"hidden": "3", "steps": "2", "pretrain": "2", "resolution": "5", "length": "4"}
    trained, history = train(make_recipe(model, "thesis-balls", small))
    assert history[-1]["step"] == 2
    assert trained.visible_to_hidden is None
    assert trained.gibbs_steps == 10


@pytest.mark.parametrize("changes", [{}, {"pretrain": 2}])
def test_the_seed_alone_decides_a_training(changes):
    recipe, state = tiny("rtrbm", **changes), torch.get_rng_state()
    first, _ = train(recipe)
    assert torch.equal(torch.get_rng_state(), state)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        assert equal(train(recipe)[0], first)
    assert not equal(train(replace(recipe, seed=2))[0], first)


def test_noise_reaches_the_memory_only(monkeypatch):
    seen = []
    loss = seqebm.RTRBM.loss

    def watched(self, frames, lengths=None, generator=None, past=None, *rest):
        seen.append((frames, past))
        return loss(self, frames, lengths, generator, past, *rest)

    monkeypatch.setattr(seqebm.RTRBM, "loss", watched)
    train(tiny("rtrbm", noise=1.0))
    train(tiny("rtrbm"))
    clean, noisy = [frames for frames, _ in seen], [past for _, past in seen]
    assert all(torch.equal(a, b) for a, b in zip(clean[:3], clean[3:], strict=True))
    assert all(past.unique().tolist() == [0.0, 1.0] for past in noisy[:3])
    assert noisy[3:] == [None] * 3


@pytest.mark.parametrize(("text", "value"), [("1", True), ("true", True), ("False", False)])
def test_bf16_is_asked_for_by_a_key(text, value):
    model = build_model(make_recipe("trbm", None, {"bf16": text, "hidden": "3"}), 4)
    assert model.bf16 is value


@pytest.mark.parametrize("visible", ["gaussian", "gaussian:learned"])
def test_noise_has_its_standard_deviation_where_units_are_gaussian(visible):
    corrupt = make_corruption(tiny("rtrbm", noise=0.3, visible=visible))
    frames = torch.full((20, 50, 4), 7.0)
    noise = corrupt(frames, torch.Generator().manual_seed(1)) - frames
    assert noise.std().item() == pytest.approx(0.3, rel=0.05)
    assert abs(noise.mean().item()) < 0.03


def test_innovations_are_those_of_any_model():
    for kind in ("rbm", "trbm", "rtrbm", "gru"):
        model = build_model(tiny(kind, innovations=2, visible="gaussian"), 4)
        assert type(model) is seqebm.Innovations
        assert model.order == 2
        alone = build_model(tiny(kind, visible="gaussian"), 4)
        assert (type(model.model), model.model.settings) == (type(alone), alone.settings)
    with pytest.raises(ValueError, match="expected Gaussian visible units, got bernoulli"):
        build_model(tiny("rtrbm", innovations=2), 4)


def test_innovations_can_be_held_at_zero():
    held = "visible_to_visible,model.weight"
    model = build_model(tiny("rtrbm", innovations=2, visible="gaussian", held_at_zero=held), 4)
    assert not model.visible_to_visible.any()
    assert not model.model.weight.requires_grad


def test_decay_shrinks_the_weights_of_hidden_units_only():
    recipe = tiny("rtrbm", innovations=1, visible="gaussian", order=1, decay=0.5)
    model = build_model(recipe, 4)
    named = {id(p): name for name, p in model.named_parameters()}
    shrinking, others = (
        {named[id(p)] for p in group["params"]}
        for group in make_optimizer(model, recipe).param_groups
    )
    kept = {"weight", "hidden_to_hidden", "visible_to_hidden"}
    assert shrinking == {f"model.{name}" for name in kept}
    assert shrinking | others == set(named.values())
    assert [g["weight_decay"] for g in make_optimizer(model, recipe).param_groups] == [0.5, 0.0]


def test_clip_and_average_reach_the_training(tmp_path):
    path = tmp_path / "run.h5"
    trained, _ = train(tiny("rtrbm", average=0.5, lr=0.1), checkpoint=path)
    assert load_training(path)[1]["averaged"] == 3
    assert equal(seqebm.load(path), trained)
    train(tiny("rtrbm"), checkpoint=path)
    assert "averaged" not in load_training(path)[1]
    settings = {"optimizer": "sgd", "lr": 1.0, "lr_end": 1.0, "momentum": 0.0, "steps": 1}
    start = train(tiny("rtrbm", **{**settings, "lr": 0.0, "lr_end": 0.0}))[0]
    clipped = train(tiny("rtrbm", clip=1e-3, **settings))[0]
    moves = [a - b for a, b in zip(clipped.parameters(), start.parameters(), strict=True)]
    norm = torch.cat([move.detach().flatten() for move in moves]).norm().item()
    assert norm == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["text", "path"])
@pytest.mark.parametrize("changes", [{}, {"pretrain": 2}, {"average": 0.9, "held_at_zero": HELD}])
def test_a_resumed_training_equals_one_that_was_not_stopped(changes, kind, tmp_path):
    recipe, path = tiny("rtrbm", steps=6, lr=0.1, lr_end=0.1, **changes), tmp_path / "run.h5"
    whole, _ = train(recipe, videos())
    train(replace(recipe, steps=3), videos(), checkpoint=kind(path))
    resumed, _ = train(recipe, videos(), checkpoint=kind(path), resume=True)
    assert equal(resumed, whole)


def test_sequences_must_fit_together():
    mixed = Sequences([Sequence(torch.zeros(3, 4)), Sequence(torch.zeros(3, 5))])
    with pytest.raises(ValueError, match="width"):
        train(TINY, mixed)
