"""More ways to ask what is answered in words, as people say them; tables only.

The placeholders are those of `smalltalk`; `{c}` and `{d}` are two different colours.
"""

from __future__ import annotations


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


LISTING: tuple[str, ...] = _lines(
    """
    what have you got there?
    what have you got in front of you?
    what have we here?
    what have we got?
    what do we have here?
    what do we have on the table?
    what can be seen?
    what can be seen here?
    what can I see in this picture?
    what could that all be?
    what is all this?
    what is all that stuff?
    what is lying there?
    what is lying on the table?
    what is standing in front of you?
    what is out there?
    what is going on here?
    what is shown?
    what is shown in the picture?
    what is before you?
    what is in sight?
    what's here?
    what's in front of the robot?
    what's in the scene?
    what's visible right now?
    what's up on the table?
    what does it look like on the table?
    what does your camera show?
    what does the scene contain?
    what does the picture contain?
    what else is there?
    what else do you see?
    what all do you see?
    what all is there?
    what stuff is on the table?
    what sort of objects do you see?
    what kinds of things are there?
    what types of objects are in the picture?
    what different things do you see?
    what things have you found?
    what objects have you detected?
    what objects did you recognise?
    what do your eyes see?
    what are the things on the table?
    what are the objects in this image?
    what are we looking at?
    what would you say is on the table?
    which things are there?
    which things lie around?
    which items do you see?
    which items are on the table?
    which objects lie here?
    which objects do you recognise?
    which objects are visible?
    who or what is on the table?
    so what do you see?
    so what is there?
    tell me everything you see
    tell me all you can see
    tell me what's there
    tell me what is going on
    tell me what lies here
    tell me what the camera sees
    tell me which objects you see
    tell me which things are on the table
    tell us what you see
    tell me more about the picture
    let me know what you see
    let me know what is there
    let me hear what is on the table
    describe everything
    describe what is there
    describe what lies in front of you
    describe the objects
    describe all objects on the table
    describe the view
    describe the camera picture
    describe the situation
    describe the content of the image
    give me a summary of the scene
    give me a short description
    give me a full list
    give me an inventory
    give me an inventory of the table
    give me the names of all objects
    give a description of what you see
    give a list of what is there
    make a list of the objects
    make an inventory
    do an inventory of the table
    write down what you see
    write a list of all things
    write down all objects on the table
    list it all
    list what you see
    list what is on the table
    list all the things
    list all the items in view
    list every object
    list the contents of the table
    list the things in the picture
    enumerate what you see
    enumerate the things on the table
    itemize the table
    name what you see
    name all objects
    name all items on the table
    name each thing that you see
    name everything in the picture
    name everything you can see
    read out what is on the table
    report what you see
    report everything in view
    report all objects
    say what is there
    say what is on the table
    say which objects you see
    explain the picture
    explain the scene to me
    explain what you see
    explain what is happening
    summarize what is on the table
    sum up what you see
    caption please
    a caption please
    a description please
    an overview please
    a list of everything please
    a short summary of the image
    scene description
    image caption
    inventory
    contents of the table?
    can you see anything?
    can you see something?
    can you name the things you see?
    can you name all objects?
    can you explain the picture?
    can you give me an overview?
    can you make a list of all things?
    can you tell what is there?
    can you tell me about the picture?
    could you name everything?
    could you say what you see?
    could you list what is on the table?
    could you explain what is there?
    would you tell me what is on the table?
    would you list the objects?
    will you describe the table?
    do you see anything at all?
    do you see any objects?
    is anything there?
    is anything on the table?
    is there anything here?
    is there anything to see?
    is there something?
    is there something on the table?
    is the table empty?
    is the table free?
    is the desk clear?
    is nothing there?
    is the picture empty?
    are there any objects?
    are there any things on the table?
    anything there?
    anything in view?
    anything in front of you?
    anything interesting?
    I'd like to know what you see
    I'd like to hear what is on the table
    I would like to know what is there
    I want a description of the table
    I want to hear what you see
    I want a list of all objects
    I need a list of the objects
    I need to know what is there
    I can't see, what is on the table?
    I wonder what is on the table
    I wonder what you see
    I am curious what is there
    help me understand the scene
    help me understand what is there
    walk me through the scene
    walk me through what you see
    take me through the picture in words
    paint me a picture in words
    in a few words, what is there?
    in one sentence, what do you see?
    in short, what is on the table?
    how would you describe the scene?
    how would you describe this picture?
    how does the table look?
    how does the scene look?
    look at the table and tell me what is there
    look at the picture and describe it
    look around and tell me what you see
    have a look and say what is there
    take a look and tell me what you see
    talk about the picture
    talk to me about the scene
    """
)

COUNT: tuple[str, ...] = _lines(
    """
    how many {xs} are here?
    how many {xs} are in view?
    how many {xs} are in front of you?
    how many {xs} are lying around?
    how many {xs} are standing there?
    how many {xs} are there altogether?
    how many {xs} are there on the table?
    how many {xs} are left?
    how many {xs} are shown?
    how many {xs} can be seen?
    how many {xs} can you find?
    how many {xs} can you count?
    how many {xs} can you detect?
    how many {xs} can I see here?
    how many {xs} could you count?
    how many {xs} did you see?
    how many {xs} did you find?
    how many {xs} does the picture show?
    how many {xs} does the table have?
    how many {xs} exist?
    how many {xs} have you seen?
    how many {xs} have you found?
    how many {xs} have you got?
    how many {xs} has the table?
    how many {xs} is that?
    how many {xs} stand here?
    how many {xs} would you say there are?
    how many {xs} were there?
    how large is the number of {xs}?
    how high is the count of {xs}?
    so how many {xs}?
    {xs}, how many?
    {xs}, how many are there?
    the {xs}, how many do you see?
    the number of {xs}?
    the number of {xs} please
    the count of {xs} please
    {xs} count?
    total number of {xs}?
    amount of {xs}?
    what number of {xs} do you see?
    what number of {xs} is there?
    what is the total number of {xs}?
    what is the amount of {xs}?
    what's the count of {xs}?
    count {xs}
    count every one of the {xs}
    count the {xs} that you see
    count the {xs} and tell me
    count the {xs} in the picture
    count the number of {xs}
    count the visible {xs}
    count up the {xs}
    do a count of the {xs}
    do count the {xs}
    make a count of the {xs}
    give me the {xs} count
    give me the count of {xs}
    give me the total of {xs}
    give me the number of {xs} on the table
    give us the number of {xs}
    get me the number of {xs}
    let me know how many {xs} there are
    let me know the number of {xs}
    say how many {xs} there are
    say how many {xs} you see
    report the number of {xs}
    report how many {xs} there are
    tell me how many {xs} are there
    tell me how many {xs} you count
    tell me how many {xs} are on the table
    tell me the count of {xs}
    tell us how many {xs} there are
    tell us the number of {xs}
    work out how many {xs} there are
    find out how many {xs} there are
    find the number of {xs}
    determine the number of {xs}
    estimate the number of {xs}
    check how many {xs} there are
    look how many {xs} there are
    see how many {xs} there are
    show me how many {xs} there are
    can you count {xs}?
    can you count all the {xs}?
    can you tell the number of {xs}?
    can you give me the number of {xs}?
    can you find out how many {xs} there are?
    can you say how many {xs} there are?
    could you count how many {xs} there are?
    could you give me the count of {xs}?
    could you say how many {xs} you see?
    would you count the {xs}?
    would you tell me how many {xs} there are?
    will you count the {xs}?
    do you know the number of {xs}?
    any idea how many {xs} there are?
    I wonder how many {xs} are here
    I want the number of {xs}
    I want you to count the {xs}
    I want to know the number of {xs}
    I'd like to know how many {xs} there are
    I would like you to count the {xs}
    I need to know how many {xs} there are
    I need a count of the {xs}
    I have to know the number of {xs}
    is there more than one {x1}?
    is there only one {x1}?
    is there just one {x1} or are there more?
    are there several {xs}?
    are there many {xs}?
    are there two {xs}?
    are there three {xs} or fewer?
    are there more than two {xs}?
    are there no {xs}?
    are we out of {xs}?
    are the {xs} gone?
    do we have many {xs}?
    do we have enough {xs}?
    do you see more than one {x1}?
    do you see several {xs}?
    do you count two {xs}?
    """
)

EXISTENCE: tuple[str, ...] = _lines(
    """
    is there {x} anywhere?
    is there {x} around?
    is there {x} among these things?
    is there {x} at all?
    is there {x} in front of you?
    is there {x} in the scene?
    is there {x} in view?
    is there {x} left?
    is there {x} or not?
    is there {x} somewhere?
    is there {x} there?
    is there perhaps {x}?
    is there really {x}?
    is there still {x}?
    is there a chance that you see {x}?
    is there any {n} around?
    is there any {n} to be seen?
    is there any {n} on the table?
    is there no {n}?
    is there such a thing as {x}?
    isn't there {x}?
    isn't there {x} on the table?
    is any {n} here?
    is any {n} in the picture?
    is {x} here?
    is {x} in the picture?
    is {x} in view?
    is {x} present?
    is {x} to be seen?
    is {x} among the objects?
    is {x} lying here?
    is one of the objects {x}?
    is one of these things {x}?
    is something here {x}?
    is that {x} over there?
    is it true that there is {x}?
    are any {xs} here?
    are any {xs} visible?
    are any {xs} there?
    are any {xs} on the table?
    are there {xs}?
    are there {xs} here?
    are there {xs} in view?
    are there any {xs} around?
    are there any {xs} left?
    are there any {xs} on the table?
    are there any {xs} to be seen?
    are there some {xs}?
    are {xs} there?
    are {xs} on the table?
    are {xs} visible?
    aren't there any {xs}?
    do you see {x} or not?
    do you see {x} here?
    do you see {x} in the picture?
    do you see {x} on the table?
    do you see {xs}?
    do you see any {n}?
    do you see any {n} at all?
    do you see some {xs}?
    do you have {x} there?
    do you have {x} in view?
    do you have any {xs} there?
    do you notice {x}?
    do you notice any {xs}?
    do you recognise {x}?
    do you happen to see {x}?
    do you think there is {x}?
    do you believe there is {x}?
    do we see {x}?
    do we have {xs} here?
    do we have {xs}?
    don't you see {x}?
    does the camera see {x}?
    does the camera show any {xs}?
    does the scene contain {x}?
    does the scene have {x}?
    does the picture contain any {xs}?
    does the table hold {x}?
    does anything look like {x}?
    did anyone put {x} here?
    did anybody leave {x} on the table?
    did you notice {x}?
    did you see any {xs}?
    did you see {x} anywhere?
    have you noticed {x}?
    have you seen any {xs}?
    have you seen {x} anywhere?
    have you seen {x} on the table?
    have you got {x} there?
    have you got any {xs}?
    have we any {xs}?
    has the table {x} on it?
    has anybody put {x} there?
    has somebody left {x} here?
    can you see {x} or not?
    can you see {x} anywhere?
    can you see {x} here?
    can you see {x} in the picture?
    can you see any {n}?
    can you see some {xs}?
    can you see if there is {x}?
    can you say if there is {x}?
    can you check if there is {x}?
    can you confirm that there is {x}?
    can you verify that there is {x}?
    can {x} be seen?
    can I see {x} in this picture?
    can't you see {x}?
    could there be {x}?
    could you check whether there is {x}?
    could you say if you see {x}?
    could you see {x}?
    would you check if there is {x}?
    would you say there is {x}?
    might there be {x}?
    tell me if you see {x}
    tell me if you see any {xs}
    tell me whether there is {x}
    tell me whether there are {xs}
    tell me if there are any {xs}
    tell me yes or no, is there {x}?
    yes or no, is there {x}?
    yes or no: do you see {x}?
    say if there is {x}
    say yes if there is {x}
    say whether you see {x}
    let me know if there is {x}
    let me know whether you see {x}
    let me know if you see any {xs}
    check if there is {x}
    check whether there is {x}
    check if there are any {xs}
    verify that there is {x}
    verify whether there is {x}
    confirm that there is {x}
    confirm if you see {x}
    look if there is {x}
    look whether there is {x}
    see if there is {x}
    see whether there are any {xs}
    find out if there is {x}
    find out whether there are any {xs}
    I ask if there is {x}
    I wonder if there is {x}
    I wonder whether you see {x}
    I need to know if there is {x}
    I'd like to know if there is {x}
    I'd like to know whether there are any {xs}
    I would like to know if you see {x}
    I think there is {x}, right?
    I guess there is no {n}?
    there is {x}, isn't there?
    there is {x}, right?
    there is no {n}, is there?
    there are {xs}, right?
    there are no {xs}, are there?
    there must be {x}, true?
    you see {x}, don't you?
    you can see {x}, right?
    any sign of {x}?
    any trace of {x}?
    any {n}?
    any {n} here?
    any {n} in view?
    any {xs} in the picture?
    any {xs} on the table?
    any {xs} left?
    any {xs} at all?
    any {xs} there?
    {x}, yes or no?
    {x}, is it there?
    {xs}, are there any?
    got {x}?
    got any {xs}?
    seen {x}?
    seen any {xs}?
    """
)

COLOR: tuple[str, ...] = _lines(
    """
    what colour has the {n}?
    what colour has the {n} got?
    what colour is that {n}?
    what colour is the {n} over there?
    what colour is the {n} in the picture?
    what colour is the {n} on the table?
    what colour is the {n} please?
    what colour is it, the {n}?
    what colour is our {n}?
    what colour is my {n}?
    what colour was the {n}?
    what colour would you say the {n} is?
    what colour do you see on the {n}?
    what colour do you think the {n} is?
    what colour did the {n} have?
    what colour may the {n} be?
    what color is that {n}?
    what color is my {n}?
    what color is the {n} here?
    what color is the {n} on the table?
    what color is the {n} you see?
    what color was the {n}?
    what color has the {n}?
    what color would you call the {n}?
    what color do you think the {n} has?
    what kind of colour does the {n} have?
    what kind of color is the {n}?
    what is the {n}'s colour?
    what is the {n}'s color?
    what's the {n}'s color?
    what is the color of this {n}?
    what is the colour of the {n} on the table?
    what does the {n} look like, which colour?
    what tone is the {n}?
    what hue is the {n}?
    what hue has the {n}?
    what paint is on the {n}?
    which colour does this {n} have?
    which colour is that {n}?
    which colour is the {n} in the image?
    which colour do you see on the {n}?
    which color is that {n}?
    which color is the {n} here?
    which color has that {n}?
    which hue does the {n} have?
    which shade does the {n} have?
    which of the colours is the {n}?
    the {n}'s colour?
    the {n}'s color?
    the {n}, which colour?
    the {n}, what color?
    the {n} has which colour?
    the {n} has what color?
    the colour of the {n}?
    the colour of the {n}, please
    the color of the {n} please
    colour of that {n}?
    color of this {n}?
    {n} colour?
    {n} color?
    give me the colour of the {n}
    give me the color of the {n}
    give me the {n}'s colour
    get me the colour of the {n}
    say what colour the {n} is
    say the color of the {n}
    say which colour the {n} has
    report the colour of the {n}
    describe the colour of the {n}
    describe the color of the {n}
    determine the color of the {n}
    find out the colour of the {n}
    find out what color the {n} is
    find out which colour the {n} has
    figure out the colour of the {n}
    check the colour of the {n}
    check what color the {n} is
    identify the colour of the {n}
    tell me which colour the {n} is
    tell me which color the {n} has
    tell me the {n}'s colour
    tell me the {n}'s color
    tell me what the colour of the {n} is
    tell us the colour of the {n}
    tell us what color the {n} is
    let me know the colour of the {n}
    let me know what color the {n} is
    let me know which colour the {n} has
    can you name the colour of the {n}?
    can you say what color the {n} is?
    can you see what colour the {n} is?
    can you see the color of the {n}?
    can you tell the colour of the {n}?
    can you tell what color the {n} is?
    could you name the color of the {n}?
    could you say which colour the {n} has?
    could you tell me the color of the {n}?
    would you tell me the colour of the {n}?
    would you say what colour the {n} is?
    will you tell me the color of the {n}?
    do you know what colour the {n} is?
    do you know which color the {n} has?
    do you see what color the {n} is?
    do you see the colour of the {n}?
    any idea what colour the {n} is?
    guess the colour of the {n}
    guess what color the {n} is
    I wonder what color the {n} is
    I wonder which colour the {n} has
    I can't see the colour of the {n}
    I can't tell what color the {n} is
    I want to know what colour the {n} is
    I want the color of the {n}
    I'd like to know the colour of the {n}
    I'd like to know what color the {n} has
    I would like to know which colour the {n} is
    I need to know the color of the {n}
    I need the colour of the {n}
    I forgot the colour of the {n}
    is the {n} {c} or {d}?
    is the {n} {c} or is it {d}?
    is the {n} {c}, {d} or something else?
    would you call the {n} {c} or {d}?
    is that {n} {c} or {d}?
    {c} or {d}, what is the {n}?
    does the {n} have a dark colour?
    does the {n} have a bright colour?
    how is the {n} coloured?
    how is the {n} painted?
    how would you describe the colour of the {n}?
    in which colour is the {n}?
    in which colour is the {n} painted?
    in what colour is the {n} painted?
    """
)

#: Whether a thing has a colour; answered as whether there is such a thing.
IS_COLORED: tuple[str, ...] = _lines(
    """
    is the {n} {c}?
    is the {n} {c}?
    is that {n} {c}?
    is this {n} {c}?
    is my {n} {c}?
    is the {n} really {c}?
    is the {n} {c} or not?
    is the {n} in {c}?
    is it a {c} {n}?
    is the colour of the {n} {c}?
    is the color of the {n} {c}?
    is one of the {ns} {c}?
    is any of the {ns} {c}?
    isn't the {n} {c}?
    are the {ns} {c}?
    are any {ns} {c}?
    are some of the {ns} {c}?
    are any of the {ns} {c}?
    are these {ns} {c}?
    would you say the {n} is {c}?
    do you think the {n} is {c}?
    does the {n} look {c}?
    does the {n} have the colour {c}?
    the {n} is {c}, right?
    the {n} is {c}, isn't it?
    tell me if the {n} is {c}
    tell me whether the {n} is {c}
    check if the {n} is {c}
    check whether the {n} is {c}
    I wonder if the {n} is {c}
    I think the {n} is {c}, true?
    """
)

#: Commands that name nothing: `{v}` is a perception verb around one of `POINTERS`.
POINTERS: tuple[str, ...] = (
    *("it", "it", "it", "that", "that", "this", "them", "them", "these", "those", "something"),
    *("that one", "this one", "that thing", "this thing", "one of those", "one of them"),
    *("that over there", "the other one", "the same one", "the last one", "anything", "him"),
    *("the thing", "some of them", "all of them", "all of it", "whatever it is", "the rest"),
)
BARE_COMMANDS: tuple[str, ...] = _lines(
    """
    find
    detect
    locate
    search
    look
    look around
    look again
    segment
    mask
    outline
    highlight
    trace
    point
    show
    show me
    indicate
    count
    describe
    start
    go
    go on
    continue
    do something
    do it again
    try again
    try that again
    once more
    again
    next
    next one
    the next one
    another one
    one more
    that one there
    this here
    over there
    right there
    left of that
    a bit more
    more
    not that one
    no, the other one
    the other one
    the left one
    the right one
    the small one
    the big one
    the first one
    the red one
    the blue one
    the green ones
    both
    both of them
    all
    all of them
    everything
    none
    where
    where to?
    where exactly?
    where are those?
    where could it be?
    where did it go?
    where has it gone?
    where do you see it?
    which one is that?
    which of them?
    which one do you mean?
    what about that one?
    what about it?
    what is it?
    what is that?
    what is this?
    what's this?
    what are these?
    who is that?
    who is it?
    how many do you see?
    how many of them?
    what colour?
    what colour is this?
    what colour are they?
    is that it?
    is it here?
    is it red?
    is it gone?
    are they there?
    are those the ones?
    boxes
    boxes please
    bounding boxes
    a box please
    draw a box
    draw boxes
    draw the boxes
    give me a box
    give me boxes
    give me the boxes
    masks
    masks please
    mask please
    a mask please
    a mask
    make a mask
    make the masks
    give me a mask
    give me masks
    give me the mask
    I need a mask
    I want a mask
    I want boxes
    I need the outline
    outlines
    outline please
    segmentation
    segmentation please
    run the segmentation
    start the segmentation
    do the segmentation
    run the detector
    run detection
    detection please
    start detection
    start the search
    begin the search
    begin searching
    start looking
    keep looking
    keep searching
    search now
    search the table
    search the picture
    look at the table
    look at the picture
    scan the table
    scan the scene
    take a look
    have a look
    point please
    point with your finger
    point at the table
    give me the position
    tell me where
    tell me where it is
    tell me which one
    show me where
    show me which one
    show me the way
    I can't find it
    I lost it
    I am searching
    I am looking
    you know what to do
    you know what I mean
    do your thing
    surprise me
    help me look
    help me search
    can you find?
    can you search?
    can you look?
    can you look again?
    can you point?
    can you segment?
    can you help me find something?
    could you search for me?
    could you mask something for me?
    could you point?
    would you look for something?
    please look
    please search
    please detect
    please segment
    please mask
    please point
    """
)

HANDLING: tuple[str, ...] = _lines(
    """
    pick up {x} for me
    pick {x} up and hold it
    pick {x} off the table
    pick up {x} and put it down
    pick up {x} and give it to me
    go and pick up {x}
    go and get {x}
    go get {x}
    get {x} for me
    get {x} and bring it here
    get hold of {x}
    get rid of {x}
    get {x} out of the way
    bring {x} over
    bring {x} over here
    bring us {x}
    bring {x} to the table
    bring {x} closer
    bring {x} back
    carry {x} over here
    carry {x} away
    clean up {x}
    clear {x} away
    close {x}
    drag {x} to the side
    drop {x} on the floor
    empty {x}
    feed {x}
    fetch me {x}
    fetch {x} from the table
    fill {x} with water
    flip {x} over
    give {x} a push
    give my friend {x}
    give us {x}
    give {x} back
    grab {x} and lift it
    grab {x} for me
    grab hold of {x}
    grip {x}
    hand {x} over
    hand {x} to me
    hand us {x}
    hide {x}
    hit {x}
    hold {x} up
    hold on to {x}
    keep {x}
    kick {x}
    knock {x} over
    lay {x} down
    lean {x} against the wall
    let go of {x}
    lift {x} up
    lift {x} off the table
    lower {x}
    move {x}
    move {x} a bit
    move {x} closer
    move {x} out of the way
    move {x} to the right
    move {x} next to the wall
    move {x} onto the shelf
    pass {x} over
    pass {x} to me
    place {x} in the basket
    place {x} on top
    place {x} over there
    place {x} next to the door
    play with {x}
    press {x}
    pull {x}
    pull {x} towards you
    push {x} aside
    push {x} away
    push {x} to the left
    push {x} off the table
    put {x} back
    put {x} down
    put {x} into the bin
    put {x} on the shelf
    put {x} over there
    put {x} upside down
    put {x} next to the others
    raise {x}
    reach for {x}
    remove {x} from the table
    roll {x}
    roll {x} over
    rotate {x}
    sell me {x}
    serve {x}
    shake {x}
    slide {x} over
    slide {x} to the edge
    sort {x} into the box
    spin {x}
    squeeze {x}
    stack {x} on the others
    stand {x} up
    steal {x}
    store {x}
    swap {x} with the other one
    sweep {x} off the table
    take {x} away
    take {x} off the table
    take {x} to the kitchen
    take {x} with you
    throw {x} to me
    throw {x} into the bin
    tidy up {x}
    tip {x} over
    toss {x} over
    toss me {x}
    transport {x} to the other room
    turn {x} over
    turn {x} upside down
    use {x}
    wash {x}
    weigh {x}
    wipe {x}
    can you bring {x}?
    can you get me {x}?
    can you give me {x}?
    can you grab {x}?
    can you hold {x}?
    can you lift {x}?
    can you move {x}?
    can you pass me {x}?
    can you push {x}?
    can you put {x} away?
    can you reach {x}?
    can you take {x}?
    can you throw {x}?
    could you fetch {x}?
    could you give me {x}?
    could you grab {x} for me?
    could you hand me {x}?
    could you move {x} a little?
    could you pass {x}?
    could you pick up {x}?
    could you take {x} away?
    would you bring me {x}?
    would you give me {x}?
    would you grasp {x}?
    would you hand {x} over?
    would you move {x} over there?
    would you put {x} on the shelf?
    will you get me {x}?
    will you pick up {x}?
    may I have {x}?
    can I have {x}?
    could I have {x}?
    I want you to grab {x}
    I want you to pick up {x}
    I want you to bring me {x}
    I need you to move {x}
    I'd like you to hand me {x}
    I would like to have {x}
    let me have {x}
    try to grasp {x}
    try to lift {x}
    start moving {x}
    stop moving {x}
    use the gripper on {x}
    use your arm to lift {x}
    """
)

#: What labels cannot tell about a thing, and remarks on one; answered as what needs an arm.
ABOUT_THINGS: tuple[str, ...] = _lines(
    """
    is the {n} full?
    is the {n} empty?
    is the {n} heavy?
    is the {n} clean?
    is the {n} broken?
    is the {n} new?
    is the {n} expensive?
    is the {n} hot?
    is the {n} yours?
    is the {n} bigger than my hand?
    is the {n} on the left?
    is the {n} on the right side?
    is the {n} upside down?
    is the {n} close to the edge?
    is the {n} near the camera?
    is the {n} nice?
    is this {n} made of wood?
    what is the {n} made of?
    what is the {n} for?
    what is the {n} used for?
    what is the {n} doing?
    what is in the {n}?
    what is inside the {n}?
    what is under the {n}?
    what is behind the {n}?
    what is next to the {n}?
    what is left of the {n}?
    what is on top of the {n}?
    what is closest to the {n}?
    what does the {n} cost?
    what does the {n} weigh?
    what can I do with the {n}?
    what size is the {n}?
    what shape does the {n} have?
    what do you think of the {n}?
    what would you do with the {n}?
    who owns the {n}?
    who made the {n}?
    who put the {n} there?
    who needs a {n}?
    whose {n} is that?
    when did I buy the {n}?
    why is the {n} here?
    why is there a {n}?
    why does the {n} stand there?
    how big is the {n}?
    how heavy is the {n}?
    how old is the {n}?
    how far is the {n} from you?
    how much is the {n}?
    how do I open the {n}?
    how do you like the {n}?
    how does the {n} work?
    do you like the {n}?
    do you want the {n}?
    do you need a {n}?
    do you own a {n}?
    does the {n} work?
    does the {n} belong to you?
    did you break the {n}?
    did you buy the {n}?
    can I eat the {n}?
    can I borrow the {n}?
    can I sit on the {n}?
    can you use a {n}?
    can you explain what a {n} is?
    could I buy the {n}?
    should I wash the {n}?
    may I keep the {n}?
    which is bigger, the {n} or the table?
    tell me a story about a {n}
    tell me the price of the {n}
    tell me what the {n} is for
    tell me what is in the {n}
    explain how a {n} works
    explain what a {n} is
    spell {n}
    translate {n} into French
    the {n} is dirty
    the {n} is nice
    the {n} is too small
    the {n} looks good
    the {n} broke
    the {n} was a present
    the {n} tastes good
    that is a nice {n}
    that's a funny {n}
    what a nice {n}
    I like the {n}
    I love this {n}
    I bought the {n} yesterday
    I bought a {n}
    I have a {n} at home
    I don't like the {n}
    I don't need the {n}
    I broke the {n}
    I painted the {n} myself
    my {n} is better
    my brother has a {n}
    nobody needs a {n}
    everybody loves the {n}
    """
)

#: Two kinds at once; answered by the number of each.
COUNT_BOTH: tuple[str, ...] = _lines(
    """
    how many {xs} and {ys} are there?
    how many {xs} and how many {ys} do you see?
    how many {xs} and {ys} can you see?
    count the {xs} and the {ys}
    count {xs} and {ys}
    please count the {xs} and {ys} for me
    are there more {xs} than {ys}?
    are there more {xs} or more {ys}?
    are there as many {xs} as {ys}?
    are there fewer {xs} than {ys}?
    do you see more {xs} than {ys}?
    do we have more {xs} or {ys}?
    which are more, {xs} or {ys}?
    what is the number of {xs} and of {ys}?
    tell me the number of {xs} and {ys}
    tell me how many {xs} and {ys} there are
    give me the number of {xs} and {ys}
    I'd like to know how many {xs} and {ys} there are
    """
)

#: Requests and remarks that have nothing to do with the picture.
OFF_TOPIC: tuple[str, ...] = _lines(
    """
    tell me a story
    tell me something funny
    tell me the news
    tell me the time
    tell me about the war
    tell me your secrets
    tell a joke
    sing me a song
    sing something
    play a song
    play chess with me
    play a game
    read me a book
    read this text aloud
    write an email
    write me a letter
    write some code
    write a program
    send a message to my boss
    call the police
    call a taxi
    call my brother
    order a pizza
    order some food
    buy me a car
    book a flight
    book a table for two
    cook dinner
    cook something for me
    bake a cake
    boil some water
    brew some tea
    make some tea
    make me breakfast
    make me laugh
    make some noise
    make the bed
    mow the lawn
    water the plants
    walk the dog
    feed the cat
    open the door
    open the window
    open the fridge
    close the door
    close your eyes
    lock the door
    turn around
    turn off the radio
    turn on the music
    turn up the volume
    switch off
    switch off the lamp
    switch yourself off
    shut down
    reboot
    restart
    charge your battery
    go away
    go back
    go outside
    go to sleep
    go to the door
    go upstairs
    go faster
    move forward
    move backwards
    move to the left
    move away
    move your head
    move the arm up
    raise your arm
    raise your hand
    wave your hand
    lower your arm
    lift your arm
    shake hands with me
    stretch out
    stand up
    sit down
    lie down
    jump
    run
    walk
    wait here
    wait a minute
    stay there
    hurry up
    drive home
    drive slowly
    drive to the office
    fly to the moon
    spin around
    clap your hands
    clean the kitchen
    clean the floor
    clean up
    clear the table
    tidy the room
    set the table
    lay the table
    empty the bin
    wash my car
    wash your hands
    iron my shirt
    fold the laundry
    paint the wall blue
    paint a picture of a sunset
    draw a horse
    draw me a house
    fix the bicycle
    repair my phone
    build a house
    solve this equation
    what is five times six?
    what is ten minus three?
    what is the square root of nine?
    what is the capital of France?
    what is the meaning of life?
    what is the date today?
    what day is it?
    what year is it?
    what do you want to eat?
    what do you like?
    what is your favourite food?
    what is your favourite colour?
    what did you do yesterday?
    what will you do tomorrow?
    what time do you get up?
    what does this word mean?
    what happened in the news?
    who won the game?
    who wrote this song?
    who is your boss?
    who is the king?
    who invented the wheel?
    when is my next meeting?
    when does the bus leave?
    when is lunch?
    why is the sky blue?
    why do birds sing?
    why are you so slow?
    how old is the universe?
    how far is the moon?
    how do I cook rice?
    how do I get to the station?
    how tall are you?
    how warm is it outside?
    how much does that cost?
    where do you live?
    where do you come from?
    where is the nearest shop?
    will it rain tomorrow?
    is it raining?
    is it cold outside?
    is it late?
    are you married?
    are you hungry?
    are you happy?
    are you tired?
    are you alive?
    do you like music?
    do you like me?
    do you love me?
    do you sleep?
    do you dream?
    do you speak German?
    do you know any jokes?
    do you have a family?
    do you want to play?
    can you dance?
    can you swim?
    can you fly?
    can you cook?
    can you drive?
    can you sing?
    can you speak Spanish?
    can you tell jokes?
    can you clean the room?
    can you help me with my homework?
    can you come over?
    could you open the window?
    could you make some coffee?
    could you turn off the light?
    could you call me later?
    would you like some tea?
    would you dance with me?
    would you marry me?
    will you be my friend?
    let's dance
    let's play
    let's go home
    let's have lunch
    let's talk about football
    I am hungry
    I am thirsty
    I am sad
    I am cold
    I am going home
    I am your boss
    I love pizza
    I love you
    I hate mondays
    I had a bad day
    I have a headache
    I want to sleep
    I want some coffee
    I need a doctor
    I need a holiday
    it is raining again
    it is too loud
    it is very hot today
    the weather is nice
    the battery is empty
    my name is Peter
    my car is broken
    today is my birthday
    this is boring
    that makes no sense
    you are funny
    you are stupid
    you are wrong
    nothing works today
    """
)

#: (fixed answer's key, what is said, separated by "|")
SMALL_TALK: tuple[tuple[str, str], ...] = (
    (
        "greeting",
        "hi robot, good morning|hello my friend|hey you|hey buddy|hello computer|hello machine|"
        "hi everybody|hi again|hello hello|morning|good morning robot|good evening robot|"
        "good afternoon robot|welcome|welcome back|hey, nice to see you|nice to see you|"
        "pleased to meet you|good to see you|hello, anybody there?|hello, are you there?|"
        "are you there?|are you awake?|are you listening?|are you ready?|wake up|hi Max|hey Rosie|"
        "hello Sam|hi assistant|yo|hiya|ahoy|salut|hi friend",
    ),
    (
        "identity",
        "who are you really?|who made you?|who created you?|who is speaking?|who is this?|"
        "what are you exactly?|what are you called?|what kind of robot are you?|"
        "what sort of machine are you?|what model are you?|what should I call you?|"
        "which model are you?|how are you called?|how big are you?|how old are you?|"
        "are you a person?|are you a machine?|are you a computer?|are you an AI?|are you real?|"
        "are you alive or a machine?|do you have eyes?|do you think?|say your name|"
        "give me your name|tell me who you are|tell me what you are|describe yourself|"
        "may I know your name?|can you introduce yourself?|could you tell me your name?|"
        "would you introduce yourself?|I don't know you|I'd like to know who you are",
    ),
    (
        "ability",
        "what else can you do?|what can you do for me?|what can I do with you?|what are you for?|"
        "what are you made for?|what is your job?|what is your purpose?|what is your task?|"
        "what do you know?|what do you understand?|what can you understand?|what can you tell me?|"
        "what can I ask you?|what can I tell you to do?|what may I ask?|what should I ask?|"
        "what should I say?|what questions can I ask?|what kind of commands can I give?|"
        "what features do you have?|what functions do you have?|which commands can I use?|"
        "which commands do you understand?|which things can you do?|how can I use you?|"
        "how can you help?|how can I talk to you?|how do I talk to you?|how do I start?|"
        "how do I ask you something?|how are you useful?|can you help me?|can you help?|"
        "can you do anything?|could you help me?|could you explain what you can do?|"
        "are you useful?|I need help|I need some help|I need your help|I don't know what to ask|"
        "I don't know what to say|I don't understand how this works|help please|please help|"
        "please help me|some help please|show me your skills|tell me what you can do|"
        "tell me how to use you|tell me your skills|tell me about your abilities|"
        "explain what you can do|explain how this works|list your skills|list your commands|"
        "list what you can do|give me an example|give me instructions|user manual|manual please",
    ),
    (
        "thanks",
        "thanks robot|thanks for the help|thanks for your help|thanks my friend|"
        "thanks, that helped|thank you for your help|thank you, that is right|"
        "thank you, well done|many thanks to you|much appreciated|that is right|that is correct|"
        "that is it|that is good|that's great|that's perfect|that was good|that was fast|"
        "that was perfect|that was right|that worked|correct|right|exactly|excellent|fantastic|"
        "wonderful|brilliant|super|nice|nice one|nice job|good|good robot|good work|good boy|"
        "great job|great work|very nice|very well|well done robot|you did well|you are great|"
        "you are the best|you are right|you were right|you helped me a lot|I am happy|"
        "I am impressed|I like that|I appreciate it",
    ),
    (
        "bye",
        "bye robot|bye for now|bye then|goodbye robot|see you soon|see you tomorrow|see you around|"
        "have a nice day|have a good evening|good night robot|sleep well|take care|until tomorrow|"
        "till later|I have to go|I must go now|I am leaving|I am done|we are done|we are finished|"
        "that is all for today|that's it for today|that was all|nothing more|no more questions|"
        "enough|enough for today|stop it|stop now|stop please|quit|exit|the end|over and out|"
        "farewell|so long",
    ),
    (
        "feeling",
        "how are you today?|how are you feeling?|how are you, robot?|how have you been?|"
        "how is life?|how is your day?|how was your day?|how do you feel today?|how goes it?|"
        "how's it going?|how's life?|how's your day?|are you alright?|are you fine?|are you good?|"
        "are you well?|are you feeling well?|is everything okay?|is everything alright?|"
        "everything fine?|all good?|everything okay with you?|you okay?|you alright?|"
        "what is up with you?|what's going on with you?|feeling good?",
    ),
)
