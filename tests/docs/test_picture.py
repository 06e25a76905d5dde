"""The picture of the DAG: what is drawn is what the compiled file says."""

from xml.etree import ElementTree

import yaml

from docs.site.picture import Step, draw, steps
from pipeline.paths import PIPELINE_FILE

SVG = "{http://www.w3.org/2000/svg}"

COMPILED = {
    "components": {
        "comp-first": {"executorLabel": "first"},
        "comp-second": {"executorLabel": "second"},
        "comp-third": {"executorLabel": "third"},
        "comp-if": {
            "dag": {
                "tasks": {
                    "loop": {"componentRef": {"name": "comp-loop"}, "parameterIterator": {}},
                }
            }
        },
        "comp-loop": {"dag": {"tasks": {"a-third": {"componentRef": {"name": "comp-third"}}}}},
    },
    "root": {
        "dag": {
            "tasks": {
                "condition": {
                    "componentRef": {"name": "comp-if"},
                    "dependentTasks": ["second"],
                    "triggerPolicy": {"condition": "x == true"},
                },
                "second": {
                    "componentRef": {"name": "comp-second"},
                    "dependentTasks": ["z-first"],
                },
                "z-first": {"componentRef": {"name": "comp-first"}},
            }
        }
    },
}


def test_steps_come_after_those_that_they_wait_for_and_know_their_branch():
    assert steps(COMPILED) == [
        Step("z_first", many=False, branch=False),
        Step("second", many=False, branch=False),
        Step("a_third", many=True, branch=True),
    ]


def test_the_committed_pipeline_is_drawn_whole():
    found = steps(yaml.safe_load(PIPELINE_FILE.read_text(encoding="utf-8")))
    assert [step.name for step in found if step.many] == [
        "cache_teacher",
        "prune_student",
        "quantize_student",
    ]
    assert [step.name for step in found if not step.branch][-1] == "decide_retraining"

    root = ElementTree.fromstring(draw(found))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert [text for text in texts if text in {step.name for step in found}] == [
        step.name for step in found
    ]
    right = float(root.get("viewBox").split()[2])
    for box in root.iter(f"{SVG}rect"):
        assert float(box.get("x", 0)) + float(box.get("width")) <= right
