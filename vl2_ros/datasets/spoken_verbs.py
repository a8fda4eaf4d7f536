"""More verb phrases for each route, as people say them; tables only.

One base form a line; `{x}` stands for the things, which follow the line when it has no `{x}`. The
route follows the rule of `phrasings`.
"""

from __future__ import annotations


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


DETECT_BASES: tuple[str, ...] = _lines(
    """
    find
    locate
    detect
    spot
    look for
    search for
    dig up
    dig out
    hunt out
    hunt around for
    ferret out
    sniff out
    root out
    scout for
    scout out
    forage for
    rummage for
    rummage around for
    comb the table for {x}
    comb through the picture for {x}
    scour the scene for {x}
    scour the table for {x}
    sweep the scene for {x}
    sweep the picture for {x}
    survey the table for {x}
    examine the image for {x}
    go over the picture and find {x}
    go through the image looking for {x}
    go searching for {x}
    go hunting for {x}
    go find {x}
    go and look for {x}
    have a look for {x}
    have a look around for {x}
    have another look for {x}
    have a search for {x}
    take a look for {x}
    take a good look around for {x}
    keep looking for {x}
    keep searching for {x}
    cast your eyes about for {x}
    look everywhere for {x}
    look high and low for {x}
    look all over for {x}
    look all over the table for {x}
    look again for {x}
    look closely for {x}
    look hard for {x}
    look carefully for {x}
    look in the picture for {x}
    look on the table for {x}
    look over the table for {x}
    look out and find {x}
    do a scan for {x}
    do a quick sweep for {x}
    do another search for {x}
    do object detection for {x}
    run a scan for {x}
    run a search for {x}
    run a quick check for {x}
    run the object detector for {x}
    start a search for {x}
    make a search for {x}
    conduct a search for {x}
    launch a search for {x}
    begin the search for {x}
    carry out object detection on {x}
    apply the detector to {x}
    use the detector on {x}
    use your detector to find {x}
    use the camera to find {x}
    use your eyes to find {x}
    use boxes to mark {x}
    fetch me the boxes of {x}
    fetch bounding boxes for {x}
    compute bounding boxes for {x}
    calculate the box of {x}
    predict boxes for {x}
    estimate the bounding box of {x}
    output boxes for {x}
    print the boxes of {x}
    report the bounding boxes of {x}
    provide bounding boxes for {x}
    supply a box for {x}
    deliver boxes for {x}
    show me the boxes of {x}
    show boxes around {x}
    show the bounding box of {x}
    show me a rectangle around {x}
    show me the detections of {x}
    place a box around {x}
    place boxes over {x}
    place rectangles around {x}
    put frames around {x}
    put a frame around {x}
    put a rectangle around {x}
    put a box on {x}
    put boxes around {x}
    put a bounding box round {x}
    set a box around {x}
    draw a rectangle around {x}
    draw rectangles around {x}
    draw a bounding box over {x}
    draw a frame around {x}
    draw boxes on {x}
    throw a box around {x}
    slap a box on {x}
    stick a box on {x}
    wrap {x} in a box
    wrap a rectangle around {x}
    enclose {x} in a box
    enclose {x} with a rectangle
    frame
    frame {x} with a box
    mark {x} using boxes
    mark {x} with rectangles
    mark {x} with a bounding box
    tag {x} with boxes
    label {x} with boxes
    box in
    box in {x} for me
    get boxes for {x}
    get me the boxes of {x}
    get me bounding boxes for {x}
    get me the rectangle around {x}
    get a box on {x}
    get the detections of {x}
    get me detections for {x}
    give me a box for {x}
    give me boxes around {x}
    give me the detection of {x}
    give me a rectangle around {x}
    give {x} a box
    give {x} a bounding box
    let me have the boxes of {x}
    let me see boxes around {x}
    see if you can find {x}
    see if you can spot {x}
    see if you can locate {x}
    see whether you can detect {x}
    see if you find {x} anywhere
    check if you can find {x}
    check whether you can spot {x}
    check if you can locate {x} anywhere
    check this picture for {x}
    make out
    try and find {x}
    try and spot {x}
    try to locate {x}
    try to detect {x}
    try to spot {x} for me
    try to track down {x}
    try your best to find {x}
    do your best to find {x}
    make an effort to find {x}
    manage to find {x}
    attempt to detect {x}
    attempt to locate {x}
    work on finding {x}
    get to work finding {x}
    get busy finding {x}
    set about finding {x}
    start looking for {x}
    start searching for {x}
    stop whatever you do and find {x}
    concentrate on finding {x}
    focus on detecting {x}
    care about finding {x}
    assist me in finding {x}
    help us locate {x}
    help me look for {x}
    help me track down {x}
    help my friend find {x}
    help me with finding {x}
    join me in looking for {x}
    chase down
    sort through the things and find {x}
    pick up the trail of {x}
    seek and find {x}
    search and find {x}
    search again for {x}
    search all over for {x}
    search the whole scene for {x}
    search this image for {x}
    search through the picture for {x}
    scan the table for {x}
    scan the image for {x}
    scan this picture for {x}
    scan everything for {x}
    inspect the picture for {x}
    explore the table for {x}
    look through everything for {x}
    look around and detect {x}
    turn on the detector for {x}
    register
    catch sight of {x}
    get sight of {x}
    lay eyes on {x}
    set eyes on {x}
    keep watch for {x}
    be on the lookout for {x}
    stay alert for {x}
    find out where the boxes of {x} are
    locate and box {x}
    find and box {x}
    spot and mark {x} with a box
    detect and localize {x}
    detect the presence and box of {x}
    tell me when you find {x}
    shout when you spot {x}
    let me know once you have located {x}
    call me as soon as you detect {x}
    alert me if you spot {x}
    report back when you find {x}
    notify me when you detect {x}
    warn me when you spot {x}
    watch for {x}
    keep an eye open for {x}
    keep your eyes open for {x}
    keep your eyes peeled for {x}
    monitor the table for {x}
    detect classes {x}
    detect everything that counts as {x}
    run detection with the classes {x}
    query the detector for {x}
    ask the detector for {x}
    feed {x} to the detector
    set the detector to {x}
    find all there is of {x}
    find whatever looks like {x}
    find something like {x}
    find where {x} are hiding
    get busy looking for {x}
    give the table a search for {x}
    give it a go and find {x}
    give me a hand finding {x}
    lend me a hand finding {x}
    lend me your eyes and find {x}
    have the detector find {x}
    have the camera look for {x}
    have your eyes search for {x}
    make the detector look for {x}
    let the camera search for {x}
    let the detector run on {x}
    let your eyes wander and find {x}
    move your gaze around and find {x}
    look left and right for {x}
    look everywhere and find {x}
    take another look for {x}
    take a closer look for {x}
    pay attention and find {x}
    play hide and seek with {x}
    solve this: find {x}
    prove that you can find {x}
    show that you can detect {x}
    show me how you find {x}
    succeed in finding {x}
    return with the boxes of {x}
    come back with boxes for {x}
    square off {x} with a box
    fence {x} in with a rectangle
    fit a box around {x}
    fit boxes to {x}
    fit a tight box to {x}
    attach a box to {x}
    assign boxes to {x}
    add a box around {x}
    add bounding boxes for {x}
    annotate {x} with boxes
    annotate the boxes of {x}
    bound {x} with a box
    regress the box of {x}
    trace down
    trace {x} with the detector
    track
    track {x} with a box
    """
)

SEGMENT_BASES: tuple[str, ...] = _lines(
    """
    segment
    mask
    outline
    highlight
    trace
    put a mask on {x}
    put a mask over {x}
    put masks on {x}
    put an outline around {x}
    lay a mask over {x}
    place a mask on {x}
    place masks over {x}
    apply a mask to {x}
    overlay a mask on {x}
    overlay {x} with a mask
    overlay {x} with colour
    cover {x} with a mask
    cover the pixels of {x}
    cover {x} in colour
    calculate the mask for {x}
    predict the mask of {x}
    estimate masks for {x}
    output the mask of {x}
    print the mask of {x}
    provide a mask for {x}
    supply masks of {x}
    deliver masks for {x}
    build a mask for {x}
    build a mask out of {x}
    prepare a mask of {x}
    render the mask of {x}
    draw masks of {x}
    draw me a mask of {x}
    fetch me the mask of {x}
    fetch the outline of {x}
    get me the mask of {x}
    get me masks of {x}
    get me the outline of {x}
    get me the contour of {x}
    get me the pixels of {x}
    get the segmentation of {x}
    get the edges of {x}
    get the exact outline of {x}
    grab the mask of {x}
    grab the pixels of {x}
    pull out the pixels of {x}
    take the outline of {x}
    collect the pixels of {x}
    collect every pixel of {x}
    gather all pixels of {x}
    list the pixels of {x}
    identify the pixels of {x}
    find every pixel of {x}
    find the outline of {x}
    find the contour of {x}
    find the edges of {x}
    find the silhouette of {x}
    find the segmentation of {x}
    find me the mask of {x}
    detect the outline of {x}
    detect the contour of {x}
    detect the pixels of {x}
    detect the edges of {x}
    locate the pixels of {x}
    locate the outline of {x}
    look for the pixels of {x}
    look for the outline of {x}
    show me the contours of {x}
    show me the edges of {x}
    show me the mask of {x}
    show me the area of {x}
    show me the exact shape of {x}
    show me the segmentation of {x}
    show me the area covered by {x}
    show me the region of {x}
    show me {x} cut out
    show me {x} highlighted
    show me {x} without the background
    show the silhouettes of {x}
    show the shape of {x} pixel by pixel
    point out the pixels of {x}
    point out the outline of {x}
    mark every pixel of {x}
    mark all the pixels that belong to {x}
    mark the edges of {x}
    mark the contour of {x}
    mark the region of {x}
    mark the area of {x}
    mark {x} pixel by pixel
    mark the silhouette of {x}
    tint
    tint the pixels of {x}
    tint {x} in some colour
    paint
    paint {x} in a colour
    paint the pixels of {x}
    paint the shape of {x}
    paint the area of {x}
    colour
    color
    colour all pixels of {x}
    colour the shape of {x}
    colour over {x}
    fill
    fill in
    fill {x} in
    fill in the shape of {x}
    fill the outline of {x}
    fill the area of {x}
    shade in
    shade the pixels of {x}
    shade the region of {x}
    cut around
    cut along the edges of {x}
    cut {x} from the picture
    cut {x} out of the image
    cut {x} free from the background
    cut the shape of {x} out
    clip out
    clip {x} from the image
    snip out
    snip {x} out of the picture
    slice out
    trim around
    trim away everything around {x}
    crop {x} out of the picture
    crop along the outline of {x}
    carve {x} out of the picture
    separate {x} from the rest
    separate {x} from the table
    separate out
    split off
    split {x} from its background
    detach {x} from the background
    strip the background from {x}
    strip away everything but {x}
    remove everything except {x}
    blank out everything but {x}
    black out everything but {x}
    hide everything except {x}
    keep only the pixels of {x}
    erase the background around {x}
    drop the background behind {x}
    take away the background of {x}
    divide the picture into {x} and background
    set {x} apart from the background
    tell {x} apart from the background
    distinguish {x} from the background
    isolate {x} from the background
    isolate the pixels of {x}
    isolate the shape of {x}
    trace around
    trace along the edge of {x}
    trace out
    trace the edges of {x}
    trace the border of {x}
    trace the shape of {x}
    trace the contour of {x}
    draw around
    draw a line around {x}
    draw the shape of {x}
    draw the edges of {x}
    draw the silhouette of {x}
    draw an outline around {x}
    draw a contour around {x}
    draw a polygon around {x}
    draw a line along the edge of {x}
    sketch the outline of {x}
    sketch the contour of {x}
    follow the outline of {x}
    follow the edges of {x}
    go around the edge of {x}
    highlight the shape of {x}
    highlight the pixels of {x}
    highlight the area of {x}
    highlight the outline of {x}
    highlight {x} in colour
    highlight {x} for me
    light up
    light up the pixels of {x}
    run the segmenter on {x}
    run a segmentation of {x}
    run instance segmentation on {x}
    use segmentation on {x}
    use the segmenter for {x}
    use a mask to show {x}
    use masks to mark {x}
    apply segmentation to {x}
    begin the segmentation of {x}
    carry out the segmentation of {x}
    do an instance segmentation of {x}
    do a precise segmentation of {x}
    do the masking of {x}
    do the outline of {x}
    make a cutout of {x}
    make an outline of {x}
    make a stencil of {x}
    make a silhouette of {x}
    make pixel masks of {x}
    make {x} stand out in colour
    create a silhouette of {x}
    create an outline for {x}
    create masks for {x}
    generate outlines of {x}
    generate segmentation masks for {x}
    produce a segmentation of {x}
    produce the contour of {x}
    turn {x} into a mask
    convert {x} into a mask
    transform {x} into a silhouette
    give {x} a mask
    give {x} an outline
    give {x} a coloured overlay
    give me a mask for {x}
    give me masks of {x}
    give me the outline of {x}
    give me the contours of {x}
    give me the silhouette of {x}
    give me a pixel map of {x}
    give me the region of {x}
    give me the exact borders of {x}
    give me the precise outline of {x}
    give me the shape of {x}
    give me all pixels of {x}
    give me {x} as a mask
    give me {x} as a silhouette
    return the segmentation of {x}
    return the pixels of {x}
    return the contours of {x}
    determine the outline of {x}
    determine the pixels of {x}
    work out the mask of {x}
    work out which pixels show {x}
    figure out which pixels are {x}
    figure out the outline of {x}
    tell me which pixels are {x}
    tell me which pixels show {x}
    tell me the pixels of {x}
    say which pixels belong to {x}
    let me have the mask of {x}
    let me see the mask of {x}
    let me see the outline of {x}
    let me see the shape of {x}
    label every pixel of {x}
    label {x} pixel by pixel
    select {x} pixel by pixel
    select the pixels of {x}
    select the area of {x}
    pick out the pixels of {x}
    extract {x} from the image
    extract a mask of {x}
    extract the shape of {x}
    extract the contour of {x}
    see if you can segment {x}
    see if you can mask {x}
    see whether you can outline {x}
    try to mask {x}
    try and segment {x}
    try to get the outline of {x}
    help me segment {x}
    help me with the mask of {x}
    find {x} and mask it
    find {x} and draw the outline
    look for {x} and segment it
    spot {x} and outline it
    locate {x} and cut it out
    detect {x} at pixel level
    segment {x} pixel by pixel
    segment {x} as exactly as you can
    segment the shape of {x}
    segment the area of {x}
    mask the pixels of {x}
    mask the area of {x}
    mask over {x}
    lasso
    lasso select {x}
    lasso around {x}
    select {x} with the lasso
    make a sticker of {x}
    make a sticker out of {x}
    make a paper cutout of {x}
    make everything but {x} black
    make the background behind {x} go away
    keep {x} and drop the rest of the pixels
    remove the background so only {x} remains
    remove all pixels but those of {x}
    draw the boundary of {x}
    draw the boundaries of {x}
    draw the exact shape of {x}
    draw a tight outline around {x}
    draw a fine line around {x}
    draw the perimeter of {x}
    find the boundary of {x}
    find the exact pixels of {x}
    find the region of {x}
    get the boundary of {x}
    get the alpha mask of {x}
    get me a matte of {x}
    get a pixelwise mask of {x}
    get the polygons of {x}
    give me the boundary of {x}
    give me the polygon of {x}
    give me the alpha matte of {x}
    give me pixel masks for {x}
    give me a pixelwise segmentation of {x}
    give me the foreground pixels of {x}
    mark the boundary of {x}
    mark out the shape of {x}
    map out the pixels of {x}
    extract {x} as a layer
    extract the foreground {x}
    export the mask of {x}
    save the mask of {x}
    store the segmentation of {x}
    compute the segmentation of {x}
    compute the silhouette of {x}
    compute pixel masks for {x}
    annotate the pixels of {x}
    annotate {x} with masks
    annotate {x} with a polygon
    add a mask to {x}
    add an outline to {x}
    add an overlay on {x}
    add colour to {x}
    assign a mask to {x}
    assign every pixel of {x}
    attach a mask to {x}
    brush over {x}
    brush in {x}
    spray over {x}
    smear colour over {x}
    stencil
    stencil out
    silhouette
    circle the exact shape of {x}
    encircle the outline of {x}
    define the outline of {x}
    define the region of {x}
    describe the outline of {x} in pixels
    reveal the outline of {x}
    reveal the shape of {x} as a mask
    lay colour over {x}
    lay bare the outline of {x}
    peel {x} off the background
    punch out
    rip {x} out of the picture
    scissor around {x}
    take scissors and cut out {x}
    have the segmenter work on {x}
    let the segmenter run on {x}
    let me have {x} cut out
    let me have the outline of {x}
    let {x} glow in colour
    divide {x} from the background
    disconnect {x} from the background
    distil a mask of {x}
    deliver the contour of {x}
    display the mask of {x}
    display the outline of {x}
    display {x} as a silhouette
    project a mask onto {x}
    overlay the shape of {x}
    underlay {x} with colour
    visualize the mask of {x}
    visualize {x} as a mask
    view the outline of {x}
    """
)

GROUND_BASES: tuple[str, ...] = _lines(
    """
    point at
    point to
    point out
    show me
    show
    indicate
    point right at {x}
    point over to {x}
    point me to {x}
    point me at {x}
    point us to {x}
    point toward {x}
    point {x} out
    point {x} out to me
    point {x} out for us
    point directly at {x}
    point with your finger at {x}
    point in the direction of {x}
    point the arm towards {x}
    point the laser at {x}
    aim at {x}
    aim your finger at {x}
    aim the pointer at {x}
    aim the camera at {x}
    put your finger on {x}
    put the pointer on {x}
    use your finger to show {x}
    use the arm to point at {x}
    stretch your arm towards {x}
    raise your hand towards {x}
    wave towards {x}
    nod at {x}
    nod towards {x}
    gesture towards {x}
    gesture to {x}
    motion to {x}
    motion towards {x}
    turn to {x}
    turn towards {x}
    turn your head to {x}
    turn the camera to {x}
    face {x}
    look straight at {x}
    fix your eyes on {x}
    direct us to {x}
    direct me towards {x}
    direct your finger at {x}
    direct my eyes towards {x}
    lead us to {x}
    lead my eyes to {x}
    lead the way to {x}
    take me to {x}
    take us to {x}
    take me to the place of {x}
    guide us to {x}
    guide my eyes to {x}
    guide my hand towards {x}
    help me see {x}
    help me see where {x} is
    help me to see which one is {x}
    help me understand where {x} is
    let me see {x}
    let me see which one is {x}
    let us see where {x} is
    let me know which one is {x}
    let me know the place of {x}
    let me have the position of {x}
    let us know where {x} is
    show me right where {x} is
    show me precisely where {x} is
    show me just {x}
    show me only {x}
    show me once more where {x} is
    show me the spot where {x} is
    show me the location of {x}
    show me the whereabouts of {x}
    show me where I find {x}
    show me where you see {x}
    show me where to find {x}
    show me which thing is {x}
    show me which object is {x}
    show me {x} again
    show everyone {x}
    show everybody where {x} is
    show him {x}
    show her where {x} is
    show them {x}
    show the visitors {x}
    show the guests where {x} is
    show my friend {x}
    show our guest which one is {x}
    show on the picture where {x} is
    show in the image where {x} is
    show where {x} is
    show where {x} stands
    show which one is {x}
    show {x} to me
    show {x} to us
    show {x} to my friend
    show {x} to the camera
    reveal where {x} is
    reveal the position of {x}
    reveal
    present {x} to me
    mark where {x} is
    mark the position of {x}
    mark the spot where {x} is
    tell me exactly where {x} is
    tell me where to find {x}
    tell me where I find {x}
    tell me where you see {x}
    tell me where {x} has gone
    tell me where {x} went
    tell me where {x} could be
    tell me the location of {x}
    tell me the spot where {x} is
    tell me the exact place of {x}
    tell me the whereabouts of {x}
    tell me in which place {x} is
    tell me where on the table {x} is
    tell me which of these is {x}
    tell me which object is {x}
    tell me which thing is {x}
    tell him where {x} is
    tell us where {x} went
    tell everyone where {x} is
    tell my brother where {x} is
    tell us about the position of {x}
    remind me where {x} is
    remind me which one is {x}
    remind us where {x} was
    hint where {x} is
    give me a hint where {x} is
    give us a hint which one is {x}
    give us the position of {x}
    give me the exact position of {x}
    give me the whereabouts of {x}
    give me the coordinates of {x}
    give me the place of {x}
    give me an idea where {x} is
    give the exact location of {x}
    give me directions to {x}
    get me the position of {x}
    get the location of {x}
    provide the position of {x}
    return the position of {x}
    output the location of {x}
    name the place of {x}
    state where {x} is
    state the position of {x}
    specify where {x} is
    specify which one is {x}
    clarify which one is {x}
    clarify where {x} is
    confirm where {x} is
    explain which one is {x}
    explain to me where {x} is
    describe the location of {x}
    report the position of {x}
    report the location of {x}
    report the whereabouts of {x}
    pick which one is {x}
    guess where {x} is
    guess which one is {x}
    figure out where {x} is
    figure out which one is {x}
    work out where {x} is
    work out which of them is {x}
    find out where {x} is
    find out which one is {x}
    determine where {x} is
    determine the position of {x}
    check where {x} is
    check the position of {x}
    see where {x} is
    see which one is {x}
    look where {x} is
    demonstrate where {x} is
    say where you see {x}
    say where {x} went
    call out where {x} is
    announce where {x} is
    be so kind and show me {x}
    enlighten me where {x} is
    refer me to {x}
    draw my attention to {x}
    draw my eyes to {x}
    get my eyes on {x}
    move my eyes to {x}
    draw an arrow to {x}
    draw an arrow at {x}
    put an arrow on {x}
    put an arrow at {x}
    use an arrow to show {x}
    shine a light on {x}
    shine the laser on {x}
    shine the torch at {x}
    let your finger show {x}
    let your arm point at {x}
    let the arm point to {x}
    have the arm point at {x}
    keep pointing at {x}
    show me the way to {x}
    show me the direction of {x}
    show me with your finger where {x} is
    show me what you think is {x}
    show me what you call {x}
    show me what I call {x}
    show the kids {x}
    show the children where {x} is
    show grandma {x}
    show my son which one is {x}
    show your friend {x}
    tell me which way {x} is
    tell me what spot {x} is in
    tell me what place {x} has
    tell me where you would put your finger for {x}
    tell me where to look for {x}
    tell me where to see {x}
    tell me where about {x} is
    tell my mother where {x} is
    tell the guests where {x} is
    tell the others where {x} is
    teach me which one is {x}
    teach me where {x} is
    give me the direction of {x}
    give me a sign where {x} is
    give away where {x} is
    give me a clue which one is {x}
    get me to {x}
    get my finger to {x}
    steer me to {x}
    steer my eyes to {x}
    walk me to {x}
    bring my eyes to {x}
    bring my gaze to {x}
    look me up the position of {x}
    look up where {x} is
    look and say where {x} is
    look and point at {x}
    lift your finger and point at {x}
    move your finger to {x}
    move the pointer to {x}
    move the cursor to {x}
    put the cursor on {x}
    put the laser dot on {x}
    place the cursor over {x}
    place your finger on {x}
    hover over {x}
    click on {x}
    tap on {x}
    nail the position of {x}
    note where {x} is
    note the position of {x}
    mention where {x} is
    make clear where {x} is
    make clear which one is {x}
    make me see {x}
    make me look at {x}
    make known where {x} is
    name the position of {x}
    answer me where {x} is
    answer which one is {x}
    decide which one is {x}
    disclose where {x} is
    identify for me which one is {x}
    inform me where {x} is
    inform us where {x} is
    introduce me to {x}
    orient me towards {x}
    pass on where {x} is
    swing the arm towards {x}
    swivel to {x}
    tilt the camera towards {x}
    turn my attention to {x}
    turn my eyes to {x}
    """
)
