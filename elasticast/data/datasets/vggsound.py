"""VGGSound: 10 s excerpts of YouTube videos in which the source of the sound is visible.

Description
    The task ``sound`` has 309 classes. The id of a clip consists of the id of its video and its start,
    ``zwUv7mdl0S4_000006``. Clips of the same video form a group, which ``dev_share`` does not divide.

Layout
    ``vggsound.csv``, without a header: ``zxPbEuAVEZU,0,playing gong,test`` (id of the video, start in s, label,
    split). Labels with commas are quoted.

    The clips, in one folder or in sub-folders, as ``ID_000006.wav``, ``.flac``, ``.mp4`` or in another format. The
    start has six digits.

    An optional list of classes: ``index,mid,display_name``, in the format of AudioSet's list, such as
    ``class_labels_indices_vgg.csv`` of released recipes. It is needed for weights trained elsewhere, because it defines
    the order of their classes. Some of these files use ``_`` instead of the commas in names. Without a list, the
    classes are the 309 published ones in alphabetical order. A label that is not a class is an error, which names the
    class that is probably meant.

Counts
    183,730 training and 15,446 test clips of 309 classes. The vggsound.csv of the repository has 199,467 rows: 241
    training clips and 50 test clips more (https://github.com/hche11/VGGSound/issues/19). Presumably these are the clips
    of ``extending ladders``, which is not one of the published 309 classes. Clips of that class are rejected, unless
    the list of classes contains it.

Source
    https://www.robots.ox.ac.uk/~vgg/data/vggsound, https://github.com/hche11/VGGSound (the list). H. Chen, W. Xie,
    A. Vedaldi, A. Zisserman: VGGSound: A large-scale audio-visual dataset. ICASSP 2020.

Licence
    Creative Commons Attribution 4.0 (CC BY 4.0). The audio belongs to its authors.
"""

import logging
import re
from pathlib import Path

import pandas as pd

from elasticast.config.dataset import VggSound
from elasticast.data.annotations import MAX_QUOTED, Annotations, read_class_names, read_lines
from elasticast.data.labels import UniqueIds, class_of, clean, meant, video_damage
from elasticast.data.lookup import index_audio
from elasticast.errors import DataError

LOG = logging.getLogger(__name__)
PUBLISHED = {"train": 183730, "test": 15446}
SURPLUS = {"train": 241, "test": 50}
SURPLUS_CLASS = "extending ladders"
ROW = re.compile(
    r'[ \t]*([\w-]{11})[ \t]*,[ \t]*(\d+)[ \t]*,[ \t]*(?:"([^"]+)"[ \t]*|([^",]+)),[ \t]*(train|test)\s*', re.ASCII
)
CLASSES = [
    *("air conditioning noise", "air horn", "airplane", "airplane flyby", "alarm clock ringing"),
    *("alligators, crocodiles hissing", "ambulance siren", "arc welding", "baby babbling", "baby crying"),
    *("baby laughter", "baltimore oriole calling", "barn swallow calling", "basketball bounce"),
    *("bathroom ventilation fan running", "beat boxing", "bee, wasp, etc. buzzing", "bird chirping, tweeting"),
    *("bird squawking", "bird wings flapping", "black capped chickadee calling", "blowtorch igniting"),
    *("bouncing on trampoline", "bowling impact", "bull bellowing", "canary calling", "cap gun shooting"),
    *("car engine idling", "car engine knocking", "car engine starting", "car passing by", "cat caterwauling"),
    *("cat growling", "cat hissing", "cat meowing", "cat purring", "cattle mooing", "cattle, bovinae cowbell"),
    *("cell phone buzzing", "chainsawing trees", "cheetah chirrup", "chicken clucking", "chicken crowing"),
    *("child singing", "child speech, kid speaking", "children shouting", "chimpanzee pant-hooting"),
    *("chinchilla barking", "chipmunk chirping", "chopping food", "chopping wood", "church bell ringing"),
    *("civil defense siren", "cow lowing", "coyote howling", "cricket chirping", "crow cawing"),
    *("cuckoo bird calling", "cupboard opening or closing", "cutting hair with electric trimmers"),
    *("dinosaurs bellowing", "disc scratching", "dog barking", "dog baying", "dog bow-wow", "dog growling"),
    *("dog howling", "dog whimpering", "donkey, ass braying", "door slamming", "driving buses", "driving motorcycle"),
    *("driving snowmobile", "duck quacking", "eagle screaming", "eating with cutlery", "electric grinder grinding"),
    *("electric shaver, electric razor shaving", "elephant trumpeting", "eletric blender running", "elk bugling"),
    *("engine accelerating, revving, vroom", "female singing", "female speech, woman speaking", "ferret dooking"),
    *("fire crackling", "fire truck siren", "fireworks banging", "firing cannon", "firing muskets"),
    *("fly, housefly buzzing", "foghorn", "footsteps on snow", "forging swords", "fox barking", "francolin calling"),
    *("frog croaking", "gibbon howling", "goat bleating", "golf driving", "goose honking", "hail"),
    *("hair dryer drying", "hammering nails", "heart sounds, heartbeat", "hedge trimmer running", "helicopter"),
    *("horse clip-clop", "horse neighing", "ice cracking", "ice cream truck, ice cream van", "lathe spinning"),
    *("lawn mowing", "lighting firecrackers", "lions growling", "lions roaring", "lip smacking"),
    *("machine gun shooting", "magpie calling", "male singing", "male speech, man speaking", "metronome"),
    *("missile launch", "mosquito buzzing", "motorboat, speedboat acceleration", "mouse clicking", "mouse pattering"),
    *("mouse squeaking", "mynah bird singing", "ocean burbling", "opening or closing car doors"),
    *("opening or closing car electric windows", "opening or closing drawers", "orchestra", "otter growling"),
    *("owl hooting", "parrot talking", "penguins braying", "people babbling", "people battle cry"),
    *("people belly laughing", "people booing", "people burping", "people cheering", "people clapping"),
    *("people coughing", "people crowd", "people eating", "people eating apple", "people eating crisps"),
    *("people eating noodle", "people farting", "people finger snapping", "people gargling", "people giggling"),
    *("people hiccup", "people humming", "people marching", "people nose blowing", "people running"),
    *("people screaming", "people shuffling", "people slapping", "people slurping", "people sneezing"),
    *("people sniggering", "people sobbing", "people whispering", "people whistling", "pheasant crowing"),
    *("pig oinking", "pigeon, dove cooing", "planing timber", "plastic bottle crushing", "playing accordion"),
    *("playing acoustic guitar", "playing badminton", "playing bagpipes", "playing banjo", "playing bass drum"),
    *("playing bass guitar", "playing bassoon", "playing bongo", "playing bugle", "playing castanets"),
    *("playing cello", "playing clarinet", "playing congas", "playing cornet", "playing cymbal", "playing darts"),
    *("playing didgeridoo", "playing djembe", "playing double bass", "playing drum kit", "playing electric guitar"),
    *("playing electronic organ", "playing erhu", "playing flute", "playing french horn", "playing glockenspiel"),
    *("playing gong", "playing guiro", "playing hammond organ", "playing harmonica", "playing harp"),
    *("playing harpsichord", "playing hockey", "playing lacrosse", "playing mandolin", "playing marimba, xylophone"),
    *("playing oboe", "playing piano", "playing saxophone", "playing shofar", "playing sitar", "playing snare drum"),
    *("playing squash", "playing steel guitar, slide guitar", "playing steelpan", "playing synthesizer"),
    *("playing tabla", "playing table tennis", "playing tambourine", "playing tennis", "playing theremin"),
    *("playing timbales", "playing timpani", "playing trombone", "playing trumpet", "playing tuning fork"),
    *("playing tympani", "playing ukulele", "playing vibraphone", "playing violin, fiddle", "playing volleyball"),
    *("playing washboard", "playing zither", "police car (siren)", "police radio chatter", "popping popcorn"),
    *("printer printing", "pumping water", "race car, auto racing", "railroad car, train wagon", "raining"),
    *("rapping", "reversing beeps", "ripping paper", "roller coaster running", "rope skipping"),
    *("rowboat, canoe, kayak rowing", "running electric fan", "sailing", "scuba diving", "sea lion barking"),
    *("sea waves", "sharpen knife", "sheep bleating", "shot football", "singing bowl", "singing choir"),
    *("skateboarding", "skidding", "skiing", "sliding door", "sloshing water", "slot machine"),
    *("smoke detector beeping", "snake hissing", "snake rattling", "splashing water", "spraying water"),
    *("squishing water", "stream burbling", "strike lighter", "striking bowling", "striking pool"),
    *("subway, metro, underground", "swimming", "tap dancing", "tapping guitar", "telephone bell ringing", "thunder"),
    *("toilet flushing", "tornado roaring", "tractor digging", "train horning", "train wheels squealing"),
    *("train whistling", "turkey gobbling", "typing on computer keyboard", "typing on typewriter"),
    *("underwater bubbling", "using sewing machines", "vacuum cleaner cleaning floors"),
    *("vehicle horn, car horn, honking", "volcano explosion", "warbler chirping", "waterfall burbling"),
    *("whale calling", "wind chime", "wind noise", "wind rustling leaves", "wood thrush calling"),
    *("woodpecker pecking tree", "writing on blackboard with chalk", "yodelling", "zebra braying"),
]
"""The published classes, in alphabetical order."""
EXPECTED = 'expected a row such as zwUv7mdl0S4,6,"bird chirping, tweeting",train (id, start in s, label, train or test)'


def fetch(config: VggSound, data_root: Path, out: Path) -> None:
    """Do nothing: the list and the clips cannot be downloaded automatically."""


def annotate(config: VggSound, data_root: Path, out: Path) -> Annotations:
    """Read the annotations: one row per clip.

    Raises
    ------
    DataError
        If the list of clips or of classes is malformed, or there is no audio.
    """
    known = None if config.twin else CLASSES
    names = known if config.labels is None else _class_names(data_root / config.labels, known)
    clips = read_rows(data_root / config.annotations, names)
    surplus = clips["label"] == SURPLUS_CLASS
    published = {split: count + SURPLUS[split] * bool(surplus.any()) for split, count in PUBLISHED.items()}
    surplus &= names is None or SURPLUS_CLASS not in names
    names = names or sorted(set(clips["label"][~surplus]))
    clips["path"] = index_audio(data_root / config.audio).paths(clips["id"])
    clips["reason"] = clips["path"].eq("").map({True: "missing", False: ""})
    clips.loc[surplus, "reason"] = f"not one of the published classes ({SURPLUS_CLASS})"
    lists = {label: [label] for label in clips["label"].unique()}
    clips["sound"] = clips.pop("label").map(lists)
    return Annotations(clips, {"sound": names}, published)


def read_rows(path: Path, names: list[str] | None) -> pd.DataFrame:
    """Read the list of clips: ``id``, ``group`` (the video), ``label`` and ``split``.

    Parameters
    ----------
    path : Path
        The list.
    names : list of str or None
        Labels that may occur in addition to `SURPLUS_CLASS`. If None (a twin), all labels are allowed.

    Raises
    ------
    DataError
        If a row is malformed, its label is not in `names`, or its clip occurs twice. The message contains the file and
        the line.
    """
    rows, ids = [], UniqueIds()
    known = None if names is None else {*names, SURPLUS_CLASS}
    for number, line in enumerate(read_lines(path, "annotations"), start=1):
        row = ROW.fullmatch(line)
        if row is None:
            if line.strip():
                raise DataError(f"{path}, line {number}: {line.strip()[:MAX_QUOTED]!r}{_cause(line)}; {EXPECTED}")
            continue
        video, start, quoted, plain, split = row.groups()
        clip, label = f"{video}_{int(start):06d}", clean(quoted or plain)
        try:
            label = label if known is None else class_of(label, known)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}") from None
        ids.add(clip, path, number, split, label)
        rows.append((clip, video, label, split))
    if not rows:
        raise DataError(f"{path}: contains no clip; {EXPECTED}")
    return pd.DataFrame(rows, columns=["id", "group", "label", "split"])


def _cause(line: str) -> str:
    """The probable cause of a malformed row, as the continuation of a sentence."""
    video, comma, _ = line.strip().partition(",")
    return f": {video_damage(video)}" if comma and video_damage(video) else ""


def _class_names(path: Path, published: list[str] | None) -> list[str]:
    """Read the class names in order. Underscores stand for commas; no published name contains an underscore.

    Raises
    ------
    DataError
        If a name is not published, but similar to a published one that the list lacks.
    """
    names = [name.replace("_", ",") for name in read_class_names(path).values()]
    lacking = sorted(set(published or ()).difference(names))
    others = [] if published is None else [name for name in names if name not in {*published, SURPLUS_CLASS}]
    for name in others:
        if probable := meant(name, lacking):
            raise DataError(
                f"{path}, line {names.index(name) + 2}: {name!r} is none of the {len(published)} published classes; "
                f"{probable!r} is probably meant"
            )
    if others:
        LOG.warning("%s: %d classes are not published, such as %r", path, len(others), others[0])
    if lacking:
        LOG.warning("%s: lacks %d of %d published classes, such as %r", path, len(lacking), len(published), lacking[0])
    return names
