"""Questions and answers of the trained tasks: read from a sentence file, drawn, filled in.

Only the placement of names and tokens is the trained format (docs/spec/core.md, section 7.5).
"""

from __future__ import annotations

import numpy as np

from vl2_ros.datasets.sentence_files import SENTENCES_FOLDER, read_sentences

_NAMES, _TOKEN = "{names}", "{token}"

#: Section -> its sentences, the one of evaluation first.
TASK_SENTENCES = {
    name: section.lines
    for name, section in read_sentences(
        SENTENCES_FOLDER / "tasks.txt",
        {
            "detect questions": (_NAMES,),
            "detect answers": (_NAMES,),
            "label questions": (_NAMES,),
            "label answers": (_NAMES,),
            "refer questions": ("{expression}",),
            "refer answers": (_TOKEN,),
            "region mask questions": ("{regions}",),
            "region mask answers": (_NAMES,),
            "keypoint questions": (_NAMES,),
            "keypoint answers": (_NAMES,),
            "whole pose questions": ("{object}",),
            "named pose questions": ("{names} {object}",),
            "pointing questions": ("{region}",),
            "image caption questions": ("",),
            "region caption questions": ("{region}",),
            "region name questions": ("{region}",),
            "region leads": ("{regions}",),
            "example leads": ("{regions}",),
            "example questions": ("",),
            "example answers": (_TOKEN,),
            "example text leads": ("{region}",),
            "example text questions": ("{region}",),
            "grounded caption questions": ("",),
            "generation questions": ("{caption}",),
            "generation answers": (_TOKEN,),
            "edit questions": ("{instruction}",),
            "edit answers": (_TOKEN,),
        },
    ).items()
}


def draw_sentence(section: str, rng: np.random.Generator | None) -> str:
    """Return a sentence of a section with its placeholders.

    Args:
        section: such as "detect questions".
        rng: source of chance; None takes the sentence of evaluation.
    """
    sentences = TASK_SENTENCES[section]
    return sentences[0 if rng is None else int(rng.integers(len(sentences)))]


def fill(sentence: str, **words: str) -> str:
    """Put words in the place of the placeholders of a sentence.

    Example:
        >>> fill("Where is {expression}?", expression="the {odd} mug")
        'Where is the {odd} mug?'
    """
    # One after the other is right as a sentence has one; str.format would read the words' braces.
    for name, text in words.items():
        sentence = sentence.replace("{" + name + "}", text)
    return sentence
