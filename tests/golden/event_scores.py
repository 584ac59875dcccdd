"""Random inputs for scores of events, and their scores by sed_scores_eval 0.0.4 and sed_eval 0.2.1.

The two packages need pandas below 3, so they have an environment of their own, which the tests do not need. To compute
``event_scores.json`` again, in this folder::

    python -m venv /tmp/sed
    /tmp/sed/bin/pip install "pandas<3" "numpy<2.3" sed_scores_eval==0.0.4 sed_eval==0.2.1
    /tmp/sed/bin/python event_scores.py > event_scores.json

Every class has an event in the first clip, because sed_scores_eval refuses classes without events. sed_eval has no
segment F1 for a class without detections, which JSON writes as NaN.
"""

import json
import sys

import numpy as np

CASES = 24


def case(seed: int) -> dict:
    """Clips of 3 to 20 classes with scores, events and detections; half of the cases have tied scores."""
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(3, 21)) if seed % 3 else 3
    clips: list[dict] = []
    for _ in range(int(rng.integers(3, 9))):
        count, hop = int(rng.integers(4, 40)), float(rng.choice([0.04, 0.16, 0.25]))
        edges, scores = (np.arange(count + 1) * hop).round(6), rng.random((count, classes))
        scores = scores.round(1) if seed % 2 else scores
        events = [e for c in range(classes) if not clips or rng.random() < 0.6 for e in _events(rng, c, edges, hop)]
        for label, onset, offset in events:
            if rng.random() < 0.7:
                part = scores[int(onset / hop) : int(np.ceil(offset / hop)), label]
                part += 0.5 * (part < 0.5)
        detections = [
            [label, max(0.0, onset + rng.normal(0, 0.12)), offset + abs(rng.normal(0, 0.12))]
            for label, onset, offset in events
            if rng.random() < 0.6
        ]
        for onset in rng.uniform(0, edges[-1], int(rng.integers(0, 6))):
            detections.append([int(rng.integers(0, classes)), float(onset), float(onset + rng.uniform(0.1, 1))])
        if seed % 4 == 0:  # a class without detections
            detections = [d for d in detections if d[0] != 0]
        clips.append({"scores": scores, "edges": edges, "events": events, "detections": detections})
    return {"classes": classes, "e_max": [100.0, 3600.0, 36000.0][seed % 3], "clips": clips}


def _events(rng: np.random.Generator, label: int, edges: np.ndarray, hop: float) -> list[list]:
    """One or more events of a class that neither overlap nor touch; some begin and end at edges."""
    end, events = float(edges[-1]), []
    onset = rng.uniform(0, 0.6 * end)
    while onset < end:
        offset = min(onset + rng.uniform(0.05, 1.0), end)
        if rng.random() < 0.4:
            first = int(onset / hop)
            onset, offset = first * hop, min(first + int(rng.integers(1, 6)), len(edges) - 1) * hop
        if events and onset <= events[-1][2]:
            break
        events.append([label, float(onset), float(offset)])
        onset = offset + rng.uniform(0.02, 0.5)
    return events


def main() -> None:
    """Print the scores of all cases."""
    json.dump([reference(case(seed)) for seed in range(CASES)], sys.stdout, indent=1)


def reference(inputs: dict) -> dict:
    """Scores of a case by the two packages."""
    import sed_eval
    from dcase_util.containers import MetaDataContainer
    from sed_scores_eval import intersection_based
    from sed_scores_eval.base_modules.scores import create_score_dataframe

    names = [f"c{c}" for c in range(inputs["classes"])]
    clips = {str(i): clip for i, clip in enumerate(inputs["clips"])}
    scores = {i: create_score_dataframe(clip["scores"], clip["edges"], names) for i, clip in clips.items()}
    truth = {i: [(on, off, names[c]) for c, on, off in clip["events"]] for i, clip in clips.items()}
    seconds = {i: clip["edges"][-1] for i, clip in clips.items()}
    criteria = {
        "PSDS1": {"dtc_threshold": 0.7, "gtc_threshold": 0.7, "alpha_st": 1.0},
        "PSDS2": {"dtc_threshold": 0.1, "gtc_threshold": 0.1, "cttc_threshold": 0.3, "alpha_ct": 0.5, "alpha_st": 1.0},
    }
    result = {}
    for key, options in criteria.items():
        value, single, *_ = intersection_based.psds(scores, truth, seconds, max_efpr=inputs["e_max"], **options)
        result[key] = {"all": value, "classes": [single[name] for name in names]}
    event = sed_eval.sound_event.EventBasedMetrics(
        names, t_collar=0.2, percentage_of_length=0.2, empty_system_output_handling="zero_score"
    )
    for key, metric in {"event": event, "segment": sed_eval.sound_event.SegmentBasedMetrics(names, 1.0)}.items():
        for i, clip in clips.items():
            rows = [
                [
                    {"filename": i, "event_label": names[c], "event_onset": on, "event_offset": off}
                    for c, on, off in clip[what]
                ]
                for what in ("events", "detections")
            ]
            metric.evaluate(*map(MetaDataContainer, rows))
        by_class = metric.results_class_wise_metrics()
        result[key] = {
            "micro": metric.results_overall_metrics()["f_measure"]["f_measure"],
            "classes": [by_class[name]["f_measure"]["f_measure"] for name in names],
        }
    return result


if __name__ == "__main__":
    main()
