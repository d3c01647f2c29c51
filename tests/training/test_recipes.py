import math
from dataclasses import fields

import pytest

from maskpencil.training.config import TrainConfig
from maskpencil.training.recipes import DESCRIPTIONS, RECIPES
from maskpencil.training.resolve import resolve as make_plan_of


def resolve(config, sizes):
    return make_plan_of(config, sizes).config


SIZES = {"train": [(360, 480)] * 367, "val": [(360, 480)] * 101}


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_resolving_sets_everything_and_is_idempotent(recipe):
    resolved = resolve(TrainConfig(recipe=recipe), SIZES)
    unset = [field.name for field in fields(resolved) if getattr(resolved, field.name) is None]
    assert set(unset) == {"init", "time_budget", "tracker", "workers"}
    assert resolve(resolved, SIZES) == resolved


def test_the_authors_rates_fall_with_every_skip_and_belong_to_their_loss():
    def rate(**settings):
        return resolve(TrainConfig(**settings), SIZES).learning_rate

    assert [rate(recipe="heavy", stride=stride) for stride in (32, 16, 8)] == ["sum:1e-10", "sum:1e-12", "sum:1e-14"]
    assert rate(recipe="heavy", stride=8, at_once_scales=True) == "sum:1e-10"
    assert [rate(recipe="cvpr", stride=stride) for stride in (32, 16, 8)] == pytest.approx([1e-4, 1e-6, 1e-8])
    assert rate(recipe="cvpr", backbone="alexnet") == 1e-3
    assert resolve(TrainConfig(recipe="heavy"), SIZES).epochs == math.ceil(100_000 / 367)


def test_backbones_with_batch_normalization_are_trained_by_muon_and_others_by_adamw():
    def chosen(**settings):
        config = resolve(TrainConfig(**settings), SIZES)
        return config.optimizer, config.learning_rate, config.backbone_rate

    assert chosen(backbone="resnet18", weights="none") == ("muon", 2e-3, 1.0)
    assert chosen(backbone="resnet18") == chosen() == ("muon", 2e-3, 0.25)
    assert chosen(backbone="resnet18", freeze="backbone") == chosen(backbone="vgg16") == ("adamw", 2e-3, 0.1)
    assert chosen(backbone="vgg16", weights="none") == ("adamw", 2e-3, 1.0)


def test_every_recipe_is_described():
    assert set(DESCRIPTIONS) == set(RECIPES)


def test_what_the_user_sets_wins_over_the_recipe():
    resolved = resolve(TrainConfig(recipe="tutorial", epochs=2, dropout=0.0, learned_upsampling="none"), SIZES)
    assert (resolved.epochs, resolved.dropout, resolved.learned_upsampling) == (2, 0.0, "none")
    assert (resolved.batch_size, resolved.image_size) == (10, "160x576")


def test_small_folders_get_more_epochs_than_large_ones():
    def epochs(count):
        return resolve(TrainConfig(), {"train": [(100, 100)] * count, "val": [(100, 100)] * 5}).epochs

    assert epochs(5) == 300
    assert epochs(100_000) == 10
    assert epochs(20) > epochs(200)


def test_the_window_is_about_two_thirds_of_the_image_within_bounds():
    def crop(height, width):
        return resolve(TrainConfig(), {"train": [(height, width)], "val": [(height, width)]}).crop_size

    assert crop(360, 480) == "256x320"
    assert crop(20, 30) == "64x64"
    assert crop(3000, 4000) == "512x512"


def test_large_images_are_brought_down_to_1024_pixels():
    assert resolve(TrainConfig(), {"train": [(3000, 4000)], "val": [(3000, 4000)]}).image_size == "1024"
    assert resolve(TrainConfig(), SIZES).image_size == "native"


def test_validation_costs_about_a_tenth_of_the_training():
    many = {"train": [(64, 64)] * 100, "val": [(64, 64)] * 300}
    assert resolve(TrainConfig(epochs=50), many).validate_every == 10
    assert resolve(TrainConfig(epochs=4), many).validate_every == 4
    assert resolve(TrainConfig(epochs=50), {"train": [(64, 64)] * 100, "val": [(64, 64)] * 5}).validate_every == 1


def test_a_plan_holds_numbers_where_settings_are_texts():
    plan = make_plan_of(TrainConfig(learning_rate="sum:1e-10", loss="dice+ohem", time_budget="1m30s"), SIZES)
    assert (plan.learning_rate.value, plan.learning_rate.reduction) == (1e-10, "sum")
    assert (plan.loss_terms, plan.time_budget, plan.crop_size) == (("dice", "ohem"), 90.0, (256, 320))
    assert plan.image_size is None
    assert make_plan_of(TrainConfig(epochs=10, coarse_share=0.5), SIZES).coarse_epochs == 5
    assert make_plan_of(TrainConfig(learning_rate="find"), SIZES).with_learning_rate(0.1).learning_rate.value == 0.1


def test_the_head_has_an_l2_penalty_only_where_it_is_fitted_exactly():
    def penalty(**settings):
        return resolve(TrainConfig(**settings), SIZES).head_l2

    assert penalty() == penalty(freeze="backbone") == 0
    assert penalty(freeze="backbone", optimizer="lbfgs") == 0.011  # 4 / 367
    assert penalty(freeze="backbone", optimizer="lbfgs", head_l2=0.0) == 0
    assert penalty(recipe="tutorial") == 1e-3


def test_whole_images_are_not_scaled_and_config_yaml_says_so():
    assert resolve(TrainConfig(crop_size="none"), SIZES).scale == (1.0, 1.0)
    assert resolve(TrainConfig(), SIZES).scale == (0.8, 1.3)
