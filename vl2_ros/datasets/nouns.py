"""Words for things: the simulator's kinds with synonyms and plurals, and other household nouns.

Tables and spelling rules only; knows no sentence and no route.
"""

from __future__ import annotations

from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS

#: Singular words that mean a kind; the first is the kind's own name and the one used in answers.
KIND_WORDS: dict[str, tuple[str, ...]] = {
    "mug": ("mug", "cup", "coffee mug", "coffee cup", "teacup"),
    "bowl": ("bowl", "soup bowl", "cereal bowl"),
    "bottle": ("bottle", "flask", "water bottle"),
    "can": ("can", "tin", "soda can", "tin can"),
    "box": ("box", "carton", "package", "parcel"),
    "ball": ("ball", "sphere"),
    "plate": ("plate", "dish", "dinner plate"),
    "book": ("book", "novel", "textbook"),
    "banana": ("banana",),
    "cube": ("cube", "block", "toy block"),
    "cylinder": ("cylinder", "tube"),
    "figure": ("figure", "person", "doll", "figurine", "toy figure", "humanoid"),
}

#: Words for whatever kind of thing.
OBJECT_WORDS = ("object", "thing", "item")

COLOR_WORDS: dict[str, tuple[str, ...]] = {
    color: {"purple": ("purple", "violet")}.get(color, (color,)) for color in COLORS
}

#: Things the simulator never shows; the answer copies the word and no instance is found.
OTHER_NOUNS: tuple[str, ...] = tuple(
    """
    spoon, fork, knife, lamp, chair, table leg, door, window, phone, cell phone, laptop,
    keyboard, mouse pad, screen, monitor, remote control, television, radio, speaker, camera,
    clock, watch, ring, necklace, hat, cap, shoe, boot, sock, glove, scarf, jacket, shirt,
    towel, blanket, pillow, curtain, carpet, basket, bucket, bin, trash bag, suitcase, backpack,
    handbag, wallet, purse, key, coin, card, ticket, pen, pencil, eraser, ruler, marker, crayon,
    notebook, magazine, newspaper, envelope, letter, stamp, stapler, paper clip, scissors, tape,
    glue stick, hammer, screwdriver, wrench, pliers, drill, saw, nail, screw, bolt, nut, washer,
    gear, spring, wire, cable, plug, socket, battery, charger, adapter, switch, button, lever,
    knob, handle, hinge, hook, rope, chain, ladder, broom, mop, sponge, brush, comb, toothbrush,
    soap, shampoo, mirror, razor, candle, matchbox, lighter, torch, flashlight, lantern,
    umbrella, kettle, teapot, pot, pan, frying pan, lid, tray, toaster, oven, fridge, blender,
    mixer, whisk, ladle, spatula, grater, cutting board, napkin, straw, jug, jar, vase, flower,
    plant, pot plant, tree, leaf, apple, pear, peach, plum, cherry, grape, lemon, lime, melon,
    mango, strawberry, tomato, potato, carrot, onion, pepper, cucumber, mushroom, corn, bread,
    bun, cake, cookie, donut, pizza, sandwich, burger, sausage, cheese, egg, butter, salt
    shaker, sugar bag, cat, dog, bird, fish, horse, cow, sheep, rabbit, mouse, elephant, teddy
    bear, dinosaur, toy car, toy train, truck, bus, bicycle, motorcycle, boat, airplane, drone,
    kite, balloon, puzzle, dice, chess piece, guitar, piano, drum, flute, violin, racket, bat,
    helmet, skateboard, dumbbell, wheel, tire, brick, stone, shell, feather, stick, pipe, hose,
    funnel, syringe, pill, thermometer, crown, glasses case, gripper, robot arm, sensor, circuit
    board, magnet, lens, microscope, anchor, ankle boot, apron, armchair, axe,
    badge, bag, bagel, bamboo, bandage, banner, barrel, bathtub, bead, bean, bear, bed, bee, beetle,
    bell, belt, bench, bib, binder, binoculars, biscuit, blackberry, bone, bonnet,
    bookmark, bow tie, bracelet, branch, briefcase, broccoli, bulb, bunny, buoy, cabbage, cactus,
    calculator, calendar, camel, canoe, cape, carafe, cart, castle, caterpillar, cauliflower,
    celery, cello, chalk, champagne glass, checkbook, chicken, chili, chisel, chocolate bar,
    clarinet, cloth, clothespin, cloud, coaster, coat, coat hanger, coconut, colander,
    compass, cone, cork, couch, crab, cracker, cradle, crane, crate, croissant, crutch, cupboard,
    cupcake, deer, desk fan, diaper, dictionary, dollar bill, doormat, dragon, drawer, dress, duck,
    dustpan, eagle, earring, easel, eggplant, engine, fan, faucet, fence, fig, fire
    extinguisher, flag, flashbulb, floppy disk, folder, football, fossil, fountain pen, fox, 
    frog, garlic, gift, giraffe, glass, globe, goat, goggles, golf club, goose, grapefruit, grill,
    hairbrush, hairdryer, hamburger, hammock, hard drive, harness, harp, headphones, heart, hen,
    hippo, honey jar, hourglass, ice cream, icicle, iron, jeans, jewel, joystick,
    kangaroo, kettle lid, kiwi, koala, lawnmower, lemonade, lettuce, light bulb, lion, lipstick,
    lizard, lobster, lollipop, lunchbox, mailbox, marble, medal,
    megaphone, metronome, mitten, monkey, moon, mosquito, motor, muffin, multimeter, nail file,
    necktie, needle, nest, oar, octopus, olive, orchid, ostrich, owl, paddle, padlock,
    paintbrush, palette, pancake, panda, paper, paper towel, parrot, passport, pea, peanut, pebble,
    pedal, penguin, perfume, pie, pig, pigeon, pineapple, pinecone, pistachio, pizza
    cutter, pocket knife, polar bear, popcorn, postcard, pretzel, printer, propeller, pulley, pump,
    puppet, quilt, raccoon, radish, rake, raspberry, receipt, relay, ribbon, rifle, 
    rocket, rolling pin, rose, router, rubber band, rubber duck, rug, sandal, sandpaper, satellite,
    saucer, scooter, seashell, shark, shelf, shield, shovel, shower cap, shuttle,
    skate, skirt, sled, slipper, snail, snake, snowman, sofa, spade, spider, spoke,
    squirrel, statue, stool, stopwatch, suit, sunflower, sunglasses, swan, sweater, sword,
    syrup, tablet, tambourine, tea bag, teaspoon, telescope, tennis racket, tent, throne,
    thumbtack, tiger, toaster oven, toilet paper, tongs, tractor, traffic cone, triangle, tripod,
    trophy, trowel, tulip, turtle, tweezers, typewriter, unicorn, vacuum cleaner, valve, van, veil,
    vest, wagon, waffle, walrus, wand, watermelon, weight, whale, wheelbarrow, whistle, wig,
    windmill, wolf, yarn, yo-yo, zebra, zipper, zucchini
    """.replace("\n", " ").split(", ")
)
OTHER_NOUNS = tuple(" ".join(noun.split()) for noun in OTHER_NOUNS)

#: Words in front of a noun that change nothing in the answer.
IGNORED_ADJECTIVES = ("small", "big", "little", "large", "shiny", "nice", "old", "new", "pretty")

_IRREGULAR = {
    "scissors": "scissors",
    "pliers": "pliers",
    "dice": "dice",
    "knife": "knives",
    "leaf": "leaves",
    "mouse": "mice",
    "sheep": "sheep",
    "fish": "fish",
    "person": "people",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "mango": "mangos",
    "shelf": "shelves",
    "wolf": "wolves",
    "deer": "deer",
    "goose": "geese",
    "binoculars": "binoculars",
    "goggles": "goggles",
    "headphones": "headphones",
    "jeans": "jeans",
    "sunglasses": "sunglasses",
    "tongs": "tongs",
    "tweezers": "tweezers",
}


def pluralize(noun: str) -> str:
    """Return the plural of a noun; only its last word changes.

    Example:
        >>> pluralize("soup dish"), pluralize("cherry"), pluralize("person")
        ('soup dishes', 'cherries', 'people')
    """
    head, _, last = noun.rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith(("s", "x", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return f"{head} {last}" if head else last


def with_article(phrase: str) -> str:
    """Put "a" or "an" in front of a phrase."""
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def phrase_of(color: str | None, noun: str) -> str:
    """Join a colour and a noun as answers write them: "red mug", or "mug" without colour."""
    return f"{color} {noun}" if color else noun


#: All "red mug"-like phrases, kinds in the outer loop.
COLOR_KIND_PHRASES: tuple[str, ...] = tuple(
    phrase_of(color, kind) for kind in KINDS for color in COLORS
)
