"""Questions that words alone answer: small talk and fixed answers, read from `sentences/`."""

from __future__ import annotations

from vl2_ros.datasets.sentence_files import SENTENCES_FOLDER, read_sentences

ASK_FOR_OBJECT = "Please name what I should look for, for example: find the red mug."
REFUSAL = "I can only look at the picture. I can find, segment, point at and describe things."
#: Answers to small talk, by the keys of its sections.
FIXED_ANSWERS = {
    "greeting": "Hello! Tell me what to look for.",
    "identity": "I am a small vision language model that looks at the picture.",
    "ability": "I can find, segment, point at and describe things in the picture.",
    "thanks": "You are welcome.",
    "bye": "Goodbye.",
    "feeling": "I am fine, thank you.",
    "refusal": REFUSAL,
}

_COUNT, _EXISTENCE = "{xs} {x1}", "{x} {xs} {n}"

_written = read_sentences(
    SENTENCES_FOLDER / "questions.txt",
    {
        "listing": ("",),
        "count": (_COUNT,),
        "existence": (_EXISTENCE,),
        "color": ("{n}",),
        "handling": ("{x}",),
        "nothing named": ("",),
    },
)
LISTING = _written["listing"].lines
COUNT = _written["count"].lines
EXISTENCE = _written["existence"].lines
COLOR = _written["color"].lines
HANDLING = _written["handling"].lines
NOTHING_NAMED = _written["nothing named"].lines

_spoken = read_sentences(
    SENTENCES_FOLDER / "spoken_questions.txt",
    {
        "listing": ("",),
        "count": (_COUNT,),
        "count both": ("{xs} {ys}",),
        "existence": (_EXISTENCE,),
        "color": ("{n} {c} {d}",),
        "is colored": ("{n} {ns} {c}",),
        "handling": ("{x}",),
        "about things": ("{n}",),
        "off topic": ("",),
        "nothing named": ("",),
        "pointers": ("",),
    },
)
SPOKEN_LISTING = _spoken["listing"].lines
SPOKEN_COUNT = _spoken["count"].lines
COUNT_BOTH = _spoken["count both"].lines
SPOKEN_EXISTENCE = _spoken["existence"].lines
SPOKEN_COLOR = _spoken["color"].lines
IS_COLORED = _spoken["is colored"].lines
SPOKEN_HANDLING = _spoken["handling"].lines
ABOUT_THINGS = _spoken["about things"].lines
OFF_TOPIC = _spoken["off topic"].lines
SPOKEN_NOTHING_NAMED = _spoken["nothing named"].lines
POINTERS = _spoken["pointers"].lines

_small_talk = read_sentences(
    SENTENCES_FOLDER / "small_talk.txt",
    {
        **{f"written {key}": ("",) for key in FIXED_ANSWERS},
        **{f"spoken {key}": ("",) for key in FIXED_ANSWERS if key != "refusal"},
    },
)
#: (what is said, its fixed answer), each equally likely.
CHAT = tuple(
    (said, answer)
    for key, answer in FIXED_ANSWERS.items()
    for said in _small_talk[f"written {key}"].lines
)
#: (what is said in many ways, their fixed answer), each answer equally likely.
SPOKEN_CHAT = tuple(
    (_small_talk[f"spoken {key}"].lines, answer)
    for key, answer in FIXED_ANSWERS.items()
    if key != "refusal"
)
