import logging

import numpy as np
import pytest
import soundfile as sf

from elasticast.config.dataset import Asterisk
from elasticast.config.resolving import load_dataset
from elasticast.data.annotations import check_annotations
from elasticast.data.datasets import asterisk
from elasticast.data.manifest import read_classes, read_manifest
from elasticast.data.prepare import prepare
from elasticast.data.store import Store
from elasticast.errors import DataError
from tests.complaints import assert_names, complains

CONFIG = Asterisk(source="asterisk")
PROMPTS = [f"digits/{number}" for number in range(40)] + ["letters/a", "vm-intro", "dir-multi1", "dictate/both_help"]
LEFT_OUT = ["silence/1", "silence/10", *sorted(asterisk.NO_SPEECH)]
SOUNDS = "usr/share/asterisk/sounds"


def write(path, seconds=0.3, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).standard_normal(round(8000 * seconds))
    sf.write(path, (noise * 3000).astype(np.int16), 8000)


@pytest.fixture
def folder(tmp_path):
    """The packages, unpacked."""
    folder = tmp_path / "data" / "asterisk"
    for number, voice in enumerate(asterisk.VOICES):
        for prompt in (*PROMPTS, *LEFT_OUT):
            write(folder / SOUNDS / voice / f"{prompt}.wav", seed=number)
        (folder / f"usr/share/doc/{voice}").mkdir(parents=True)
        (folder / f"usr/share/doc/{voice}/copyright").write_text("x")
    return folder


@pytest.fixture
def sums(folder, monkeypatch):
    """Makes the files those of the version that is compared with."""
    rows = annotate(folder).clips
    of = {name: rows[rows["language"].str[0] == name] for name in asterisk.LANGUAGES}
    monkeypatch.setattr(asterisk, "SHA256", {name: asterisk.clips_sha256(clips) for name, clips in of.items()})


def annotate(packages, **others):
    return asterisk.annotate(CONFIG.model_copy(update=others), packages.parent, packages.parent / "out")


def test_clips_languages_and_what_is_left_out(folder, sums, caplog):
    notes = annotate(folder)
    assert not caplog.records
    assert notes.classes == {"language": ["en", "es", "fr", "it", "ru"]}
    rows = notes.clips.set_index("id")
    assert sorted(rows.index) == sorted(f"{name}/{prompt}" for name in asterisk.LANGUAGES for prompt in PROMPTS)
    assert rows.loc["it/digits/7", "language"] == ["it"]
    assert rows.loc["it/digits/7", "path"] == str(folder / SOUNDS / "it_IT_m_Carlo/digits/7.wav")


def test_a_prompt_is_in_the_same_split_in_every_language(folder):
    rows = annotate(folder).clips
    assert (rows.groupby("group")["split"].nunique() == 1).all()
    assert (rows.groupby("group").size() == 5).all()
    assert set(rows["split"]) == {"train", "dev", "test"}


def test_splits_have_the_stated_shares_and_do_not_depend_on_which_prompts_exist(folder):
    splits = [asterisk._split(f"prompt-{number}") for number in range(5000)]
    for split, share in {"train": 0.7, "dev": 0.1, "test": 0.2}.items():
        assert splits.count(split) / 5000 == pytest.approx(share, abs=0.02)
    before = annotate(folder).clips.set_index("id")["split"]
    for voice in asterisk.VOICES:
        (folder / SOUNDS / voice / "digits/3.wav").unlink()
    after = annotate(folder).clips.set_index("id")["split"]
    assert after.equals(before[~before.index.str.endswith("digits/3")])


def test_a_share_for_dev_moves_whole_prompts(folder):
    clips = check_annotations(annotate(folder).clips, Asterisk.tasks, 0.5)
    assert (clips.groupby("group")["split"].nunique() == 1).all()
    assert clips["split"].eq("dev").sum() > annotate(folder).clips["split"].eq("dev").sum()


@pytest.mark.parametrize("place", ["", "sounds", "en/usr/share/asterisk/sounds"])
def test_the_voices_may_be_anywhere_below_the_folder(folder, place):
    expected = annotate(folder).clips.drop(columns="path")
    target = folder / "moved" / place
    target.parent.mkdir(parents=True, exist_ok=True)
    (folder / SOUNDS).rename(target)
    assert annotate(folder).clips.drop(columns="path").equals(expected)
    assert len(annotate(folder, folder="asterisk/moved").clips) == len(expected)


def test_other_voices_and_other_files_are_ignored(folder):
    expected = annotate(folder).clips
    for name in ("en_GB_m_Other/vm-intro.wav", "en_US_f_Allison/._vm-intro.wav", "en_US_f_Allison/readme.txt"):
        (folder / SOUNDS / name).parent.mkdir(exist_ok=True)
        (folder / SOUNDS / name).write_bytes(b"x")
    assert annotate(folder).clips.equals(expected)


def test_a_missing_language_and_another_version_are_named(folder, sums, caplog):
    (folder / SOUNDS / "ru_RU_f_IvrvoiceRU").rename(folder.parent / "elsewhere")
    write(folder / SOUNDS / "fr_CA_f_June/digits/7.wav", seed=99)
    (folder / SOUNDS / "it_IT_m_Carlo/digits/7.wav").unlink()
    notes = annotate(folder)
    assert notes.classes["language"] == asterisk.LANGUAGES
    assert_names(caplog.text, "ru_RU_f_IvrvoiceRU", "fr_CA_f_June", "it_IT_m_Carlo", asterisk.VERSION)
    assert "Allison" not in caplog.text


@pytest.mark.parametrize("left", ["nothing", "no folder", "silence only"])
def test_a_folder_without_prompts_is_refused_with_the_remedy(folder, left):
    (folder / SOUNDS).rename(folder.parent / "elsewhere")
    if left == "no folder":
        folder.rename(folder.parent / "other")
    if left == "silence only":
        write(folder / "en_US_f_Allison/silence/1.wav")
    with complains(DataError, folder, "folder"):
        annotate(folder)


def test_no_prompt_names_the_packages(folder):
    (folder / SOUNDS).rename(folder / "voices")
    for voice in asterisk.VOICES:
        (folder / "voices" / voice).rename(folder / "voices" / f"old_{voice}x")
    with complains(DataError, folder, "asterisk-core-sounds-en-wav", "dpkg -x", *asterisk.VOICES):
        annotate(folder)


@pytest.mark.parametrize("rate", [8000, 16000])
def test_prepared_with_an_empty_file(folder, rate, tmp_path, caplog):
    """Counts are compared with those of the packages; above 4 kHz there is nothing, whatever the rate."""
    caplog.set_level(logging.WARNING)
    (folder / SOUNDS / "ru_RU_f_IvrvoiceRU/vm-intro.wav").write_bytes(b"")
    config = CONFIG.model_copy(update={"max_rejected": 0.1, "store_rate": rate})
    prepare(config, folder.parent, tmp_path / "prompts")
    rows = read_manifest(tmp_path / "prompts/manifest.parquet").set_index("id")
    assert rows.loc[rows["status"] == "rejected", "reason"].to_dict() == {"ru/vm-intro": "empty"}
    assert (rows.loc[rows["status"] == "ok", "sample_rate"] == 8000).all()
    assert read_classes(tmp_path / "prompts/classes.json")["language"]["classes"] == asterisk.LANGUAGES
    total = sum(asterisk.PUBLISHED.values())
    assert_names(caplog.text, f"{5 * len(PROMPTS) - 1:,} of {total:,}")
    store = Store(tmp_path / "prompts/train.h5")
    assert store.sample_rate == rate
    power = np.abs(np.fft.rfft(store[0].astype(float))) ** 2
    above = np.fft.rfftfreq(len(store[0]), 1 / rate) > 4200
    assert power[above].sum() < 0.01 * power.sum()


def test_the_numbers_are_consistent():
    assert sum(asterisk.PUBLISHED.values()) == 551 + 510 + 544 + 582 + 559
    assert set(asterisk.SHA256) == set(asterisk.LANGUAGES)


@pytest.mark.parametrize(("name", "rate"), [("asterisk", 16000), ("asterisk_8k", 8000)])
def test_the_committed_settings(name, rate, request):
    config = load_dataset(request.config.rootpath / f"config/datasets/{name}.yaml")
    expected = CONFIG.model_copy(update={"max_rejected": 0.001, "store_rate": rate})
    assert config.model_copy(update={"title": None}) == expected
