"""Questions whose answer is a sentence: scene questions by template, small talk with fixed answers.

Tables only. `{x}` is a thing in the singular with its article, `{xs}` a plural, `{n}` a bare noun.
"""

from __future__ import annotations

ASK_FOR_OBJECT = "Please name what I should look for, for example: find the red mug."

LISTING_QUESTIONS: tuple[str, ...] = (
    "what is on the table?",
    "what is on the table?",
    "what's on the table?",
    "what do you see?",
    "what do you see?",
    "what can you see?",
    "what can you see here?",
    "what do you see on the table?",
    "what is in the picture?",
    "what is in this image?",
    "what's in the image?",
    "what is there?",
    "what is here?",
    "what is in front of you?",
    "what is in view?",
    "what objects are there?",
    "what objects are on the table?",
    "which objects are on the table?",
    "which objects can you see?",
    "which things do you see?",
    "what things are there?",
    "what kind of objects are here?",
    "what items are on the desk?",
    "what does the camera see?",
    "what does the picture show?",
    "what are you looking at?",
    "what am I looking at?",
    "what lies on the table?",
    "what stands on the table?",
    "what is visible?",
    "describe the scene",
    "describe the picture",
    "describe this image",
    "describe what you see",
    "describe the table",
    "tell me what you see",
    "tell me what is on the table",
    "tell me what is in the picture",
    "tell me about the scene",
    "list the objects",
    "list all objects on the table",
    "list everything you see",
    "name the objects",
    "name everything on the table",
    "name all the things you see",
    "give me a list of the objects",
    "give me a description of the scene",
    "give me an overview of the table",
    "say what you see",
    "report what is on the table",
    "caption this image",
    "write a caption for the picture",
    "explain what is in the image",
    "can you describe the scene?",
    "can you tell me what you see?",
    "can you list the objects?",
    "could you describe what is on the table?",
    "could you tell me what is there?",
    "would you describe the picture?",
    "I want to know what is on the table",
    "I would like a description of the picture",
    "please describe the scene",
    "please tell me what you see",
    "do you see anything?",
    "is there anything on the table?",
    "anything on the table?",
    "summarize the scene",
    "summarise the picture",
)

COUNT_QUESTIONS: tuple[str, ...] = (
    "how many {xs} are there?",
    "how many {xs} are there?",
    "how many {xs} do you see?",
    "how many {xs} can you see?",
    "how many {xs} are on the table?",
    "how many {xs} are in the picture?",
    "how many {xs} are in this image?",
    "how many {xs}?",
    "how many {xs} have we got?",
    "how many {xs} do we have?",
    "how many {xs} are visible?",
    "how many {xs} did you count?",
    "how many {xs} lie here?",
    "count the {xs}",
    "count all {xs}",
    "count the {xs} on the table",
    "count the {xs} for me",
    "please count the {xs}",
    "can you count the {xs}?",
    "could you count the {xs}?",
    "could you tell me how many {xs} there are?",
    "can you tell me how many {xs} you see?",
    "tell me how many {xs} there are",
    "tell me the number of {xs}",
    "give me the number of {xs}",
    "give me a count of the {xs}",
    "what is the number of {xs}?",
    "what's the number of {xs} on the table?",
    "what is the count of {xs}?",
    "I want to know how many {xs} there are",
    "I need the number of {xs}",
    "do you know how many {xs} there are?",
    "number of {xs}?",
)

EXISTENCE_QUESTIONS: tuple[str, ...] = (
    "is there {x}?",
    "is there {x}?",
    "is there {x} on the table?",
    "is there {x} in the picture?",
    "is there {x} here?",
    "is there any {n}?",
    "is {x} there?",
    "is {x} on the table?",
    "is {x} visible?",
    "are there any {xs}?",
    "are there {xs} on the table?",
    "are there any {xs} in the image?",
    "do you see {x}?",
    "do you see any {xs}?",
    "do you see {x} anywhere?",
    "can you see {x}?",
    "can you see any {xs}?",
    "can you see {x} on the table?",
    "could you tell me if there is {x}?",
    "can you tell me whether there is {x}?",
    "tell me if there is {x}",
    "tell me whether you see {x}",
    "does the picture show {x}?",
    "does the image contain {x}?",
    "does the table have {x} on it?",
    "do we have {x}?",
    "do we have any {xs}?",
    "have we got {x}?",
    "have you seen {x}?",
    "did you see {x}?",
    "I want to know if there is {x}",
    "any {xs}?",
    "any {xs} here?",
    "any {n} on the table?",
)

COLOR_QUESTIONS: tuple[str, ...] = (
    "what colour is the {n}?",
    "what color is the {n}?",
    "what color is the {n}?",
    "what colour is this {n}?",
    "what colour does the {n} have?",
    "what color does the {n} have?",
    "what is the colour of the {n}?",
    "what is the color of the {n}?",
    "what's the color of the {n}?",
    "which colour is the {n}?",
    "which color is the {n}?",
    "which color does the {n} have?",
    "which colour has the {n}?",
    "tell me the colour of the {n}",
    "tell me the color of the {n}",
    "tell me what color the {n} is",
    "tell me what colour the {n} is",
    "can you tell me the color of the {n}?",
    "could you tell me what colour the {n} is?",
    "do you know the color of the {n}?",
    "name the colour of the {n}",
    "name the color of the {n}",
    "I want to know the color of the {n}",
    "the {n}, what colour is it?",
    "the {n} is what color?",
    "color of the {n}?",
    "colour of the {n}?",
    "in what color is the {n}?",
    "how is the {n} colored?",
)

#: Commands that name nothing to look for.
NO_OBJECT_COMMANDS: tuple[str, ...] = tuple(
    line.strip()
    for line in """
    find
    find it
    find something
    find that
    find them
    find this one
    please find
    please find it for me
    segment
    segment it
    segment that
    segment them
    segment this
    mask
    mask it
    mask that for me
    outline it
    outline that one
    detect
    detect it
    detect something
    locate
    locate it
    look for something
    look for it
    look for that
    search
    search for it
    search for something
    search it
    spot it
    point
    point at it
    point at that
    point to something
    point there
    show me
    show me that
    show me that one
    show it to me
    where is it
    where is it?
    where is that?
    where's that one?
    where are they?
    which one is it?
    which one?
    where?
    can you find it?
    can you find something?
    can you segment that?
    could you look for it?
    could you find them please?
    I am looking for something
    I need you to find something
    I want you to segment something
    help me find it
    look
    do it
    do that again
    that one
    this
    highlight it
    highlight that
    cut it out
    how many?
    what color is it?
    what colour is that?
    how many are there?
    is it there?
    indicate it
    """.strip().splitlines()
)

_GREETING = "Hello! Tell me what to look for."
_IDENTITY = "I am a small vision language model that looks at the picture."
_ABILITY = "I can find, segment, point at and describe things in the picture."
_THANKS = "You are welcome."
_BYE = "Goodbye."
_FEELING = "I am fine, thank you."
REFUSAL = "I can only look at the picture. I can find, segment, point at and describe things."

#: Fixed answers by the keys of `spoken_questions.SMALL_TALK`.
FIXED_ANSWERS: dict[str, str] = {
    "greeting": _GREETING,
    "identity": _IDENTITY,
    "ability": _ABILITY,
    "thanks": _THANKS,
    "bye": _BYE,
    "feeling": _FEELING,
}

#: Commands that would need an arm; answered by `REFUSAL`.
HANDLING_COMMANDS: tuple[str, ...] = (
    "pick up {x}",
    "pick {x} up",
    "can you pick up {x}?",
    "grasp {x}",
    "grab {x}",
    "take {x}",
    "bring me {x}",
    "bring {x} here",
    "get me {x}",
    "could you bring me {x}?",
    "hand me {x}",
    "hand over {x}",
    "give me {x}",
    "give {x} to me",
    "pass me {x}",
    "move {x} to the left",
    "move {x} away",
    "push {x}",
    "push {x} over the edge",
    "lift {x}",
    "lift up {x}",
    "put {x} in the box",
    "put {x} away",
    "place {x} on the plate",
    "throw {x} away",
    "drop {x}",
    "carry {x} to the kitchen",
    "drive to {x}",
    "open {x}",
    "clean {x}",
    "turn {x} around",
    "hold {x}",
    "touch {x}",
    "please fetch {x}",
    "fetch {x}",
)

#: (what is said, the fixed answer)
CHAT: tuple[tuple[str, str], ...] = tuple(
    (line.strip(), answer)
    for answer, lines in (
        (
            _GREETING,
            "hello, hi, hey, hello robot, hi there, hey there, good morning, good evening, "
            "good afternoon, hi robot, hey robot, hello there, greetings, howdy, "
            "nice to meet you, hello again, good day",
        ),
        (
            _IDENTITY,
            "who are you?, what are you?, what is your name?, what's your name?, "
            "tell me your name, are you a robot?, are you human?, introduce yourself, "
            "tell me about yourself, "
            "who am I talking to?, what kind of model are you?, do you have a name?",
        ),
        (
            _ABILITY,
            "what can you do?, help, help me, how can you help me?, what are your skills?, "
            "what do you do?, how does this work?, what can I ask?, what can I say?, "
            "give me some help, how do I use you?, what commands do you know?, "
            "what are you able to do?, instructions please, show me what you can do",
        ),
        (
            _THANKS,
            "thanks, thank you, thank you very much, thanks a lot, many thanks, great thanks, "
            "thank you robot, well done, good job, great, perfect, cheers, that was helpful, "
            "very good, nice work, awesome",
        ),
        (_BYE, "bye, goodbye, see you, see you later, good night, bye bye, that is all, stop"),
        (
            _FEELING,
            "how are you?, how are you doing?, how do you do?, how is it going?, are you okay?, "
            "how do you feel?, what's up?",
        ),
        (
            REFUSAL,
            "pick up the mug, pick up the red cube, grasp the bottle, grab the banana, "
            "bring me the cup, bring me the book, move the box, push the can, lift the plate, "
            "put the ball in the bowl, stack the cubes, give me the bottle, hand me the mug, "
            "open the box, throw the ball, drive forward, turn left, turn right, "
            "go to the kitchen, "
            "come here, move your arm, open the gripper, close the gripper, sing a song, "
            "tell me a joke, what is the weather?, what time is it?, play some music, "
            "write a poem, what is two plus two?, call my mother, set a timer, clean the table, "
            "wash the dishes, make me a coffee, pour the water, dance, translate this sentence, "
            "who is the president?, take the blue can, place the cube on the plate, drop it, "
            "pick it up, take it, grab that, switch on the light, go home, follow me",
        ),
    )
    for line in lines.split(", ")
)
