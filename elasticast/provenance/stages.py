"""The code that determines the output of each stage of the workflow."""

from functools import cache
from pathlib import Path

from elasticast.config.run import RunSettings
from elasticast.provenance.kept import kept_digest
from elasticast.provenance.source import Source

PACKAGE = Path(__file__).parents[1]

# Code that several stages share.
_RUN = (
    "config/augment.py",
    "config/frames.py",
    "config/model/adapting.py",
    "config/model/aum.py",
    "config/model/cnn.py",
    "config/model/common.py",
    "config/model/context.py",
    "config/model/crnn.py",
    "config/model/own.py",
    "config/model/patch_sizes.py",
    "config/model/token_merging.py",
    "config/model/traits.py",
    "config/model/transformers.py",
    "config/phases.py",
    "config/run.py:RunConfig",
    "config/stages.py",
    "config/training.py:Train",
    "config/view.py",
    "text.py:counted",
)
_SUITE = (*_RUN, "config/base.py", "config/dataset", "config/suite.py:Suite")
_CLIPS = (
    "data/augment.py",
    "data/dataset.py",
    "data/encoder.py",
    "data/events.py",
    "data/features.py",
    "data/manifest.py:Known,LACKING,read_classes,read_manifest",
    "data/norm.py",
    "data/packing.py",
    "data/patch_sizes.py",
    "data/pseudo_labels.py",
    "data/sampler.py",
    "data/store.py:Store",
    "data/timbre.py",
    "data/time_warp.py",
    "data/unlabelled.py",
    "data/views.py",
)
_MODELS = (
    "data/padding.py",
    "models/__init__.py",
    "models/adapters.py",
    "models/ast.py",
    "models/attention.py",
    "models/aum.py",
    "models/chunks.py",
    "models/cnn.py",
    "models/crnn.py",
    "models/device.py",
    "models/elasticast.py",
    "models/frame_head.py",
    "models/pooling.py",
    "models/positions.py",
    "models/scan.py",
    "models/token_merging.py",
    "models/transformer.py",
)
_EVENTS = (
    "evaluation/event_f1.py",
    "evaluation/frames.py",
    "evaluation/postprocessing.py",
    "evaluation/psds.py",
)
_SWEEPS = (
    *_EVENTS,
    "config/evaluation.py:COSTED,PATCHES,REDUCING,swept_patches",
    "data/audio.py:ratio",
    "data/bandwidth.py",
    "data/manifest.py:read_listed",
    "data/windows.py:window_views",
    "evaluation/flops.py",
    "evaluation/metrics.py",
    "evaluation/passes.py",
    "evaluation/saved_predictions.py",
    "evaluation/sweep.py",
)
_LOAD_WEIGHTS = (
    "models/weights/adapt.py",
    "models/weights/adapted.py",
    "models/weights/content.py",
    "models/weights/sources.py",
    "models/weights/vit.py",
)
_PUBLISHED_WEIGHTS = ("data/stats.py:RELEASED", "models/weights/convert.py", "models/weights/layouts.py")
_TRAINING = (
    *_RUN,
    *_CLIPS,
    *_MODELS,
    "cli/__init__.py:train",
    "config/base.py",
    "data/loading.py",
    "data/manifest.py:read_data_hash",
    "data/teacher.py",
    "evaluation/flops.py",
    "models/fast_trunk.py",
    "training/batches.py",
    "training/checkpoint.py",
    "training/cost.py",
    "training/distributed.py",
    "training/identity.py",
    "training/inputs.py",
    "training/loop.py",
    "training/mean_teacher.py",
    "training/objective.py",
    "training/optim.py",
    "training/phases.py",
    "training/record.py",
    "training/tally.py",
)
_EVALUATION = (
    *_RUN,
    *_CLIPS,
    *_MODELS,
    *_SWEEPS,
    *_LOAD_WEIGHTS,
    "cli/__init__.py:evaluate",
    "data/manifest.py:read_data_hash",
    "evaluation/classes.py",
    "evaluation/run.py",
    "models/pretrained.py:load_model",
)
_DECODING = (
    "data/audio.py",
    "data/containers",
    "data/ffmpeg.py",
    "data/level.py",
    "data/manifest.py:reason_kind",
    "data/parts.py:decode_parts",
    "data/recordings.py",
    "data/store.py:REMEDY,read_part,writing_part",
)
_CEILINGS = (
    "data/ceilings.py",
    "data/datasets/controls.py:Clip,LEAD_SECONDS,SLOT_SECONDS,TONES,compose",
    "data/datasets/scenes.py:CLASSES,Clip,SCENES,SLOT_SECONDS,compose,shares",
    "data/datasets/soundscapes.py:STREAMS,Score,bayes_scene,compose",
)
_SCRIPT = (*_SUITE, "reporting/identity.py", "reporting/scripts.py", "reporting/style.py")
_PANELS = (
    *_SCRIPT,
    *_CEILINGS,
    "reporting/captions.py:Coverage,title_of",
    "reporting/panel_inputs.py",
    "reporting/panels.py",
    "reporting/read_tables.py",
    "reporting/released_curves.py",
)
_CURVES = ("reporting/captions.py", "reporting/curves.py", "reporting/legend.py", "text.py:one_line,rst")
_ABLATION = (
    *_SUITE,
    *_CEILINGS,
    *_CURVES,
    "config/ablation.py",
    "config/ablation_names.py",
    "config/ablation_sweeps.py",
    "evaluation/saved_predictions.py:points",
    "evaluation/statistics.py",
    "reporting/ablation",
    "reporting/identity.py",
    "reporting/panels.py",
    "reporting/read_tables.py",
    "reporting/style.py",
    "reporting/tables.py",
    "text.py:csv_cell,latex,markdown",
)
_TABLE = (
    *_PANELS,
    "config/suite.py:fold_name",
    "reporting/comparison.py",
    "reporting/folds.py",
    "reporting/tables.py",
    "text.py:csv_cell,latex,markdown,one_line",
)

STAGES = {
    "synthesis": ("config/dataset/common.py:DatasetSettings,SPLITS", "data/synthesis.py"),
    "decode": _DECODING,
    "prepare": (
        *_DECODING,
        "cli/__init__.py:prepare",
        "config/base.py",
        "config/dataset/common.py:DatasetSettings,SPLITS",
        "config/dataset/own.py:OwnRecordings",
        "config/dataset/twinned.py:TwinnedDataset",
        "data/annotations.py",
        "data/coverage.py",
        "data/datasets/__init__.py",
        "data/duplicates.py",
        "data/event_lists.py",
        "data/event_table.py",
        "data/events.py:EVENTS",
        "data/labels.py",
        "data/lookup.py",
        "data/manifest.py",
        "data/parts.py",
        "data/prepare.py",
        "data/store.py:write_index",
        "text.py:decodable,printable",
    ),
    "stats": (
        "cli/__init__.py:stats",
        "config/frames.py:hop_samples,margins,window_samples",
        "config/view.py:FrontEnd",
        "data/features.py",
        "data/loading.py:load",
        "data/manifest.py:read_data_hash",
        "data/stats.py:write_stats",
        "data/store.py:Store",
    ),
    "train": _TRAINING,
    "select": (*_TRAINING, *_SWEEPS, "training/selection.py"),
    "evaluate": _EVALUATION,
    "released": (*_EVALUATION, *_PUBLISHED_WEIGHTS),
    "intervals": (
        "cli/__init__.py:intervals,resample",
        "config/base.py",
        "data/events.py:Events",
        "evaluation/event_f1.py:Counts,event_counts",
        "evaluation/frames.py:FrameScores,resampled_f1",
        "evaluation/intervals.py",
        "evaluation/postprocessing.py",
        "evaluation/psds.py:StepScores",
        "evaluation/saved_predictions.py:points,saved_events,targets",
        "evaluation/statistics.py",
    ),
    "collect": (
        *_RUN,
        "cli/__init__.py:collect",
        "data/norm.py:Norm",
        "data/stats.py:stats_rows",
        "reporting/collect.py",
        "reporting/read_tables.py:read_run_metrics",
    ),
    "curves": (*_PANELS, *_CURVES),
    "learning": (
        *_SCRIPT,
        "reporting/captions.py:title_of",
        "reporting/curves.py:METRIC_LABEL",
        "reporting/learning_curves.py",
        "reporting/legend.py:CHARACTER,Styles,legend_below",
        "reporting/read_tables.py",
    ),
    "patches": (*_PANELS, *_CURVES, "config/evaluation.py:PATCHES,swept_patches", "reporting/patch_sizes.py"),
    "table": _TABLE,
    "zoo": (
        *_PANELS,
        *_CURVES,
        "config/evaluation.py:COSTED,PATCHES,REDUCING",
        "reporting/tables.py",
        "reporting/zoo.py",
        "reporting/zoo_figure.py",
        "text.py:csv_cell,latex,markdown",
    ),
    "verdict": (*_TABLE, "reporting/claims.py", "reporting/verdict.py"),
    "overview": (
        *_TABLE,
        *_CURVES,
        "config/frames.py",
        "data/views.py",
        "reporting/claims.py",
        "reporting/learning_curves.py",
        "reporting/overview.py",
        "reporting/overview_data.py",
        "reporting/verdict.py",
        "text.py:html",
    ),
    "ablation": (*_ABLATION, "reporting/scripts.py"),
    "redraw_ablation": (*_ABLATION, "published/ablation_figure.py", "published/layout.py:verified_record"),
    "lengths": (
        *_SCRIPT,
        "config/frames.py",
        "data/views.py",
        "reporting/captions.py",
        "reporting/native_lengths.py",
        "reporting/read_tables.py:read_durations",
        "reporting/token_shares.py",
        "text.py:one_line,rst",
    ),
    "audit": (
        *_SUITE,
        *_CLIPS,
        *_MODELS,
        *_LOAD_WEIGHTS,
        *_PUBLISHED_WEIGHTS,
        "audit",
        "data/audio.py",
        "data/bandwidth.py",
        "data/containers",
        "data/datasets/soundscapes.py:CLASSES,SAMPLE_RATE,SOUNDS,draw_events,mix",
        "data/ffmpeg.py",
        "data/level.py",
        "data/manifest.py:write_csv",
        "data/recordings.py",
        "data/stream.py",
        "data/synthesis.py:gain,pink_noise,to_int16",
        "data/windows.py:OVERLAP,Windows,cut_windows,window_rule",
        "encoders",
        "evaluation/frames.py:BOX_SETTINGS,_by_class,box_settings,check_classes,median_lengths,nearest_seen",
        "evaluation/metrics.py:metrics",
        "evaluation/postprocessing.py:box_scores,detections,filter_length,median_filtered",
        "evaluation/psds.py:StepScores",
        "inference/classifier.py",
        "inference/events.py:EventScore,check_frames,find_events",
        "inference/pending.py",
        "inference/prediction.py:Prediction,Timeline,best_scores,probabilities",
        "models/pretrained.py:Pretrained,load_model",
        "reporting/identity.py",
        "reporting/style.py",
        "text.py:csv_cell,file_name,printable",
    ),
    "bench": (*_SUITE, "reporting/bench_figure.py", "reporting/identity.py", "reporting/style.py"),
    "packing": (*_SCRIPT, *_CLIPS, "reporting/captions.py", "reporting/packed_batch.py", "text.py:one_line,rst"),
}
"""Modules by stage, or ``MODULE:NAME,NAME`` for some definitions of a module; see `Source.select`.

A change of other code does not re-run the stage. Each dataset adds its `code()` to `synthesis` and `prepare`. `select`
is `train` for runs that keep the best weights on a split. `released` is `evaluate` for published weights.
"""
WITH_DEFAULTS = ("released",)
"""Stages that use default values of settings. In other stages, the params of the rules contain all values."""
START = (
    *_LOAD_WEIGHTS,
    *_PUBLISHED_WEIGHTS,
    "config/run.py:OF_RUN",
    "models/pretrained.py:Pretrained,init_source,start_from",
)
"""Code that is added to `train` and `select` for runs that start from weights (`model.init`)."""
TEACHER = (
    *START,
    "config/run.py:teacher_loss_error",
    "evaluation/classes.py:match_classes",
    "models/pretrained.py:load_model",
    "training/teacher.py",
)
"""Code that is added to `train` and `select` for runs that learn from a teacher (`train.distill`)."""
ENSEMBLE = (*TEACHER, *_SWEEPS, "training/ensemble.py")
"""Code that is added to `train` and `select` for runs that learn from pseudo-labels (`train.ensemble`)."""
RESPONSES = (
    "data/audio.py",
    "data/containers",
    "data/ffmpeg.py",
    "data/level.py",
    "data/lookup.py:EXTENSIONS,scan_audio",
    "data/recordings.py",
    "data/responses.py",
    "text.py:decodable,printable",
)
"""Code that is added to `train` and `select` for runs with impulse responses (`train.impulse_responses`)."""


@cache
def code_digest(stage: str, *more: str) -> str:
    """Digest of the code that determines the output of a stage. Comments, docstrings and layout are not part of it.

    Parameters
    ----------
    stage : str
        A key of :data:`STAGES`.
    more : str
        Further modules of the package, or definitions in them.
    """
    return kept_digest(_source(declarations=stage in WITH_DEFAULTS), (*STAGES[stage], *more))


@cache
def _source(declarations: bool) -> Source:
    return Source(PACKAGE, declarations)


def training_code(run: RunSettings) -> str:
    """Digest of the code that determines the weights of a run; it depends on the settings named here."""
    train = run.train
    parts = {START: run.model.init, TEACHER: train.distill, ENSEMBLE: train.ensemble}
    parts |= {RESPONSES: train.impulse_responses}
    more = [module for modules, used in parts.items() if used for module in modules]
    return code_digest("select" if train.select else "train", *more)
