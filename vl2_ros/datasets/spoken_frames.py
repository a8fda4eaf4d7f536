"""Frames of spoken commands: what is wanted as a noun, as a participle, as a question; tables only.

`{x}` stands for the things. What each table is put together with is said above it.
"""

from __future__ import annotations

from vl2_ros.structures import Route


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


#: What a command can ask for, as a noun: `{n}` of `REQUESTS`.
WANTED: dict[Route, tuple[str, ...]] = {
    Route.DETECT: _lines(
        """
        a box around {x}
        a box for {x}
        a box on {x}
        boxes around {x}
        boxes for {x}
        boxes on {x}
        the boxes of {x}
        the box of {x}
        the bounding box of {x}
        the bounding boxes of {x}
        a bounding box for {x}
        bounding boxes for {x}
        bounding boxes round {x}
        a rectangle around {x}
        rectangles around {x}
        a frame around {x}
        the detection of {x}
        a detection of {x}
        the detections of {x}
        detections for {x}
        detection results for {x}
        object detection for {x}
        the result of the search for {x}
        a search for {x}
        a quick search for {x}
        a scan for {x}
        the corners of the box around {x}
        the edges of the box around {x}
        the box that holds {x}
        a tight box around {x}
        a detection box for {x}
        detection boxes for {x}
        the detector on {x}
        the detector results for {x}
        another search for {x}
        annotated boxes of {x}
        the box coordinates of {x}
        """
    ),
    Route.SEGMENT: _lines(
        """
        a mask of {x}
        a mask for {x}
        a mask over {x}
        masks of {x}
        masks for {x}
        the mask of {x}
        the masks of {x}
        the pixel mask of {x}
        a pixel mask for {x}
        a clean mask of {x}
        a binary mask of {x}
        an instance mask of {x}
        instance masks for {x}
        a segmentation of {x}
        the segmentation of {x}
        a segmentation mask for {x}
        the segmentation masks of {x}
        an outline of {x}
        the outline of {x}
        the outlines of {x}
        the exact outline of {x}
        the contour of {x}
        the contours of {x}
        a contour around {x}
        the silhouette of {x}
        a silhouette of {x}
        the edges of {x}
        the border of {x}
        the exact border of {x}
        the shape of {x}
        the exact shape of {x}
        the precise shape of {x}
        the pixels of {x}
        all pixels of {x}
        every pixel of {x}
        the exact pixels of {x}
        the pixels that belong to {x}
        the pixels that show {x}
        the area of {x}
        the area covered by {x}
        the region of {x}
        a cutout of {x}
        a cut-out of {x}
        a polygon around {x}
        a stencil of {x}
        a coloured overlay on {x}
        a highlight on {x}
        pixel labels for {x}
        the boundary of {x}
        the boundaries of {x}
        the perimeter of {x}
        an alpha mask of {x}
        a matte of {x}
        the polygon of {x}
        polygons of {x}
        the instance segmentation of {x}
        a pixelwise segmentation of {x}
        the foreground pixels of {x}
        an object mask of {x}
        the region mask of {x}
        nothing but the pixels of {x}
        a sticker of {x}
        a sharp outline of {x}
        a rough outline of {x}
        the whole shape of {x}
        """
    ),
    Route.GROUND: _lines(
        """
        the position of {x}
        the location of {x}
        the place of {x}
        the spot of {x}
        the whereabouts of {x}
        the exact position of {x}
        the exact location of {x}
        the current position of {x}
        the coordinates of {x}
        the place where {x} is
        the spot where {x} is
        the place where {x} stands
        the place where I find {x}
        a hint where {x} is
        an idea where {x} is
        a pointer to {x}
        directions to {x}
        the direction of {x}
        the way to {x}
        an arrow to {x}
        a finger on {x}
        a clue which one is {x}
        a sign where {x} is
        a view of where {x} is
        """
    ),
}

#: The same for a known thing in the possessive: `{x}'s mask`.
OWNED: dict[Route, tuple[str, ...]] = {
    Route.DETECT: ("box", "bounding box", "detection", "detection box", "rectangle"),
    Route.SEGMENT: (
        *("mask", "outline", "contour", "silhouette", "pixels", "edges", "segmentation"),
        *("exact outline", "pixel mask", "exact shape", "shape in pixels", "contours", "cutout"),
    ),
    Route.GROUND: ("position", "location", "whereabouts", "place", "exact position", "spot"),
}

#: Bare words behind or in front of bare things: "mug, bowl: masks".
LABELS: dict[Route, tuple[str, ...]] = {
    Route.DETECT: (
        *("boxes", "bounding boxes", "detection", "detections", "search", "detect", "find"),
        *("locate", "detect these", "find these", "boxes please", "detector on"),
    ),
    Route.SEGMENT: (
        *("masks", "mask", "outlines", "segmentation", "pixels", "contours", "silhouettes"),
        *("segment", "segment these", "mask these", "masks please", "pixel masks", "cut out"),
    ),
    Route.GROUND: ("position", "where", "location", "point", "show me", "which one", "whereabouts"),
}

REQUESTS: tuple[str, ...] = _lines(
    """
    {n}
    {n}
    {n} please
    now {n}
    next {n}
    then {n}
    just {n}
    only {n}
    again {n}
    and {n}
    first {n}
    quick, {n}
    I need {n}
    I want {n}
    I need {n}
    I require {n}
    I would like {n}
    I'd like {n}
    I'd like to have {n}
    I'd like to see {n}
    I would like to get {n}
    we need {n}
    we want {n}
    we'd like to have {n}
    we would love to see {n}
    give me {n}
    give me {n}
    give us {n}
    get me {n}
    get us {n}
    let me have {n}
    let me see {n}
    let us have {n}
    let's have {n}
    let's see {n}
    let's get {n}
    may I have {n}?
    may I see {n}?
    may we get {n}?
    can I see {n}?
    can I have {n}?
    can I get {n}?
    can we have {n}?
    can we see {n}?
    can you give me {n}?
    can you show me {n}?
    can you provide {n}?
    could I have {n}?
    could I get {n}?
    could I see {n}?
    could we get {n}?
    could we have {n}?
    could you give me {n}?
    could you get me {n}?
    could you show us {n}?
    could you send me {n}?
    would you give me {n}?
    would you show me {n}?
    will you give us {n}?
    show me {n}
    show us {n}
    how about {n}?
    what about {n}?
    {n} would be nice
    {n} would be great
    {n} would be good
    {n} would help me
    {n} would help a lot
    {n} would do
    {n} is what I need
    {n} is all I need
    {n} is all I ask for
    I am interested in {n}
    I am after {n}
    I could use {n}
    I could do with {n}
    I am waiting for {n}
    I am still waiting for {n}
    I am asking for {n}
    I was hoping for {n}
    I asked for {n}
    I have to have {n}
    I have to see {n}
    I'd love to see {n}
    I'd love to have {n}
    I'd appreciate {n}
    I would be glad about {n}
    send me {n}
    send {n}
    return {n}
    output {n}
    print {n}
    report {n}
    compute {n}
    determine {n}
    prepare {n}
    provide {n}
    provide me with {n}
    supply {n}
    hurry up with {n}
    work out {n}
    figure out {n}
    bring up {n}
    pull up {n}
    what I want is {n}
    what I need is {n}
    what we need now is {n}
    all I want is {n}
    my request is {n}
    my next question: {n}
    the task is {n}
    the next thing is {n}
    we are missing {n}
    please provide {n}
    kindly give me {n}
    is it possible to have {n}?
    is it possible to get {n}?
    do you have {n}?
    have you got {n}?
    any chance of {n}?
    any chance to get {n}?
    would you have {n} for me?
    who can give me {n}?
    thanks for {n}
    time for {n}
    try {n}
    my boss asks for {n}
    the customer wants {n}
    the program needs {n}
    the gripper needs {n}
    for the next step we need {n}
    """
)

#: What can be done to the things: `{p}` of `PASSIVES`.
PARTICIPLES: dict[Route, tuple[str, ...]] = {
    Route.DETECT: _lines(
        """
        found
        located
        detected
        spotted
        tracked down
        searched for
        looked for
        boxed
        boxed in
        framed with a box
        marked with a box
        marked by a rectangle
        surrounded by a box
        enclosed in a rectangle
        identified
        recognised
        discovered
        given a bounding box
        localized
        put in a bounding box
        """
    ),
    Route.SEGMENT: _lines(
        """
        segmented
        masked
        outlined
        highlighted
        cut out
        traced
        isolated
        extracted
        coloured in
        colored in
        shaded
        painted over
        cropped out
        carved out
        masked out
        segmented out
        separated from the background
        cut from the picture
        given a mask
        covered with a mask
        turned into a mask
        contoured
        delineated
        traced around
        filled with colour
        marked pixel by pixel
        segmented pixel by pixel
        outlined exactly
        highlighted in colour
        """
    ),
    Route.GROUND: _lines(
        """
        pointed at
        pointed out
        pointed to
        pointed out to me
        indicated
        shown to me
        shown
        shown to us
        indicated to me
        pointed out for us
        shown to my friend
        """
    ),
}

PASSIVES: tuple[str, ...] = _lines(
    """
    {x} should be {p}
    {x} must be {p}
    {x} has to be {p}
    {x} ought to be {p}
    {x} is to be {p}
    {x} shall be {p}
    {x} still isn't {p}
    {x} is not {p} yet
    {x}, {p} please
    {x} {p}
    I need {x} {p}
    I want {x} {p}
    I want {x} to be {p}
    I'd like {x} {p}
    I'd like {x} to be {p}
    I would like to have {x} {p}
    I would like to see {x} {p}
    I would love {x} {p}
    I prefer {x} {p}
    I am waiting for {x} to be {p}
    I expect {x} to be {p}
    I asked for {x} to be {p}
    we need {x} {p}
    we want {x} {p}
    they want {x} {p}
    get {x} {p}
    get {x} {p} for me
    have {x} {p}
    please have {x} {p}
    let's get {x} {p}
    let's have {x} {p}
    could {x} be {p}?
    can {x} be {p}?
    may {x} be {p}?
    will {x} be {p}?
    can we get {x} {p}?
    can we have {x} {p}?
    could I get {x} {p}?
    could I have {x} {p}?
    could you get {x} {p}?
    is it possible to get {x} {p}?
    may I have {x} {p}?
    is {x} {p} already?
    my boss wants {x} {p}
    the customer wants {x} {p}
    make sure {x} gets {p}
    make sure that {x} is {p}
    see to it that {x} gets {p}
    it is important that {x} is {p}
    it's time that {x} gets {p}
    how about getting {x} {p}?
    the idea is to have {x} {p}
    the next thing to be {p} is {x}
    the thing to be {p}: {x}
    what has to be {p} is {x}
    to be {p}: {x}
    """
)

#: Remarks about one thing, before a command that only says "it"; the form of `{x}` is given.
REMARKS_ON_ONE: tuple[tuple[str, str], ...] = tuple(
    (line, form)
    for form, lines in (
        (
            "one",
            _lines(
                """
                I lost {x}
                I misplaced {x}
                I left {x} somewhere
                I put {x} down here
                I can't see {x}
                I like {x}
                I care about {x}
                I forgot {x}
                I am thinking of {x}
                I am talking about {x}
                I mean {x}
                I have a question about {x}
                somebody moved {x}
                somebody took {x}
                somebody left {x} here
                {x} has gone missing
                {x} is gone
                {x} is missing
                {x} disappeared
                {x} vanished
                {x} must be here
                {x} must be somewhere
                {x} should be on the table
                {x} is important
                {x} is next
                {x} is mine
                {x} belongs to my sister
                {x} is hard to see
                {x} is what I want
                {x} is our target
                {x} is in there somewhere
                do you see {x}?
                can you see {x}?
                you see {x}?
                you know {x}?
                see {x}?
                remember {x}?
                do you remember {x}?
                what about {x}?
                how about {x}?
                next up is {x}
                now to {x}
                this is about {x}
                it is about {x}
                we talked about {x}
                my son wants {x}
                my boss needs {x}
                the customer asked for {x}
                the task is about {x}
                the object is {x}
                the target is {x}
                the next object is {x}
                my favourite is {x}
                consider {x}
                think of {x}
                take for example {x}
                regarding {x}
                as for {x}
                concerning {x}
                as to {x}
                when it comes to {x}
                {x}
                {x}
                """
            ),
        ),
        (
            "a one",
            _lines(
                """
                there is {x}
                there is {x} here
                there is {x} on the table
                there must be {x}
                there must be {x} here
                there should be {x}
                there might be {x}
                there has to be {x} somewhere
                I think there is {x}
                I believe I saw {x}
                I heard there is {x}
                I saw {x}
                I see {x}
                somebody left {x}
                somewhere there is {x}
                you should see {x}
                here is {x}
                """
            ),
        ),
    )
    for line in lines
)

#: Things that are not meant, behind or in front of a command; `{y}` stands for them.
NEGATIONS: tuple[str, ...] = _lines(
    """
    {c}, not {y}
    {c}, but not {y}
    {c} and not {y}
    {c}, ignore {y}
    {c}, never mind {y}
    {c} instead of {y}
    {c} rather than {y}
    {c}, forget {y}
    {c}, leave {y} alone
    {c}, skip {y}
    {c}, I don't need {y}
    {c}, without {y}
    forget {y}, {c}
    forget about {y}, {c}
    never mind {y}, {c}
    not {y}, {c}
    ignore {y}, {c}
    ignore {y} and {c}
    I don't care about {y}, {c}
    I don't mean {y}, {c}
    leave {y} alone and {c}
    skip {y} and {c}
    """
)

#: Whole sentences with the form of `{x}`, as in `phrasings`.
SENTENCES: dict[Route, tuple[tuple[str, str], ...]] = {
    Route.DETECT: (
        *(
            (line, "several")
            for line in _lines(
                """
            where are {x}?
            where are {x}?
            where are {x} now?
            where are {x} at?
            where are {x} supposed to be?
            where have {x} gone to?
            where did {x} go?
            where did I put {x}?
            where did we leave {x}?
            where did you see {x}?
            where do {x} stand?
            where do I find {x}?
            where do we find {x}?
            where can I find {x}?
            where can you see {x}?
            where could {x} be?
            where can {x} be?
            where should {x} be?
            where would I look for {x}?
            where were {x}?
            where on earth are {x}?
            where in the picture are {x}?
            where in the image do you see {x}?
            where about are {x}?
            whereabouts are {x}?
            so where are {x}?
            and where are {x}?
            in what places are {x}?
            at which positions are {x}?
            which ones are {x}?
            which of these are {x}?
            which of the objects are {x}?
            any idea where {x} are?
            who knows where {x} are?
            do you see where {x} are?
            can you tell where {x} are?
            could you tell me where {x} are?
            I wonder where {x} are
            I want to know where {x} are
            I have no idea where {x} are
            I don't know where {x} are
            I can't see where {x} are
            show me where {x} are
            show us where {x} are
            tell me where {x} are
            tell us where {x} are
            let me know where {x} are
            say where {x} are
            what are the positions of {x}?
            the positions of {x}
            {x}, where are they?
            {x}, show me where they are
            """
            )
        ),
        *(
            (line, "all")
            for line in _lines(
                """
            show me {x}
            show me {x}
            show me {x} please
            show me {x} on the table
            show me {x} you can see
            show me {x} that you see
            show me {x} there is
            show me {x} in this picture
            can you show me {x}?
            could you show me {x}?
            please show me {x}
            show us {x}
            show {x}
            let me see {x}
            let us see {x}
            I want to see {x}
            I'd like to see {x}
            where is {x}?
            where do you see {x}?
            where can I see {x}?
            point out {x}
            mark {x}
            mark {x} in the picture
            get me {x} in view
            """
            )
        ),
        *(
            (line, "any")
            for line in _lines(
                """
            I can't find {x}
            I cannot find {x} anywhere
            I never find {x}
            I am on the lookout for {x}
            I am hunting for {x}
            I have been looking for {x}
            I was looking for {x} all day
            I keep looking for {x}
            I hoped you could find {x}
            I bet you can find {x}
            I bet you can't find {x}
            I doubt that you can find {x}
            I'd be happy if you found {x}
            I'd be glad if you could locate {x}
            I would be grateful if you detected {x}
            it would be nice if you found {x}
            it would be good to know the boxes of {x}
            if you see {x}, put a box around it
            if there is {x}, box it
            we are after {x}
            we are searching for {x}
            we can't locate {x}
            we are trying to locate {x}
            everybody is looking for {x}
            my mother is looking for {x}
            the user wants to find {x}
            what we are looking for is {x}
            what I am looking for is {x}
            the thing to find is {x}
            today we look for {x}
            this time look for {x}
            now it is {x} that I look for
            your target is {x}, find it
            your goal: find {x}
            mission: find {x}
            task: detect {x}
            job: locate {x}
            wanted: {x}
            looking for {x}
            searching for {x}
            still looking for {x}
            did you locate {x}?
            did you manage to find {x}?
            have you located {x}?
            haven't you found {x}?
            can't you find {x}?
            couldn't you look for {x}?
            won't you look for {x}?
            is it hard to find {x}?
            how fast can you find {x}?
            how quickly can you detect {x}?
            how do I find {x}?
            what about a box around {x}?
            """
            )
        ),
    ),
    Route.SEGMENT: tuple(
        (line, "any")
        for line in _lines(
            """
        which pixels are part of {x}?
        which pixels show {x}?
        which pixels make up {x}?
        which pixels does {x} cover?
        which pixels does {x} occupy?
        which part of the picture is {x}?
        which area is {x}?
        which area does {x} cover?
        what pixels are {x}?
        what pixels belong to {x}?
        what is the exact shape of {x}?
        what is the silhouette of {x}?
        what is the contour of {x}?
        what is the region of {x}?
        what does the outline of {x} look like?
        what does the mask of {x} look like?
        how does the outline of {x} look?
        where are the edges of {x}?
        where is the outline of {x}?
        where is the mask of {x}?
        where exactly are the pixels of {x}?
        where does {x} end and the background begin?
        is there a mask of {x}?
        do you have a mask for {x}?
        have you got the outline of {x}?
        did you outline {x}?
        have you segmented {x}?
        haven't you masked {x} yet?
        can't you segment {x}?
        I want to know which pixels are {x}
        I need to know the outline of {x}
        I need to see the shape of {x}
        I want to see nothing but {x}
        I want to cut out {x}
        I'd be glad if you masked {x}
        I would be grateful if you outlined {x}
        it would be nice if you segmented {x}
        it would be good to have masks of {x}
        if you see {x}, mask it
        if there is {x}, segment it
        we are segmenting {x}
        we have to cut out {x}
        my teacher wants a mask of {x}
        the program wants the mask of {x}
        the thing to segment is {x}
        the thing to mask is {x}
        what I want to mask is {x}
        today we segment {x}
        task: segment {x}
        job: mask {x}
        mission: outline {x}
        segmenting {x}
        masking {x}
        masks and outlines of {x}
        boxes are not enough, I need masks of {x}
        no boxes, masks of {x}
        not a box but a mask of {x}
        a mask instead of a box for {x}
        """
        )
    ),
    Route.GROUND: tuple(
        (line, "one")
        for line in _lines(
            """
        where is {x}?
        where's {x}?
        where is {x} at?
        where is {x} again?
        where is {x} then?
        where is {x} supposed to be?
        where in the image is {x}?
        where about is {x}?
        where precisely is {x}?
        where the hell is {x}?
        where would {x} be?
        where must I look for {x}?
        where do we find {x}?
        where can I find {x}?
        where could I find {x}?
        where do you think {x} is?
        where does {x} lie?
        where does one find {x}?
        where did we put {x}?
        where did you put {x}?
        where did I leave {x}?
        where did {x} go to?
        where did {x} disappear?
        where have I put {x}?
        where has {x} been put?
        where has {x} ended up?
        where's {x} hiding?
        where's {x} now?
        where's {x} again?
        and where is {x}?
        and where would that be, {x}?
        on which side is {x}?
        at what position is {x}?
        in what place is {x}?
        in which place is {x}?
        is {x} left or right?
        which one's {x}?
        which one could be {x}?
        which one is supposed to be {x}?
        which one do you call {x}?
        which of them is {x}?
        which of all these is {x}?
        which of those things is {x}?
        which thing here is {x}?
        which object do you think is {x}?
        what is the exact position of {x}?
        what's the position of {x}?
        what's the location of {x}?
        any hint where {x} could be?
        got an idea where {x} is?
        do you have any idea where {x} is?
        do you remember where {x} is?
        do you know which one is {x}?
        can you tell where {x} is?
        can you remember where {x} was?
        can somebody tell me where {x} is?
        could you tell me where {x} is?
        could anybody show me {x}?
        have you an idea where {x} went?
        did you see where {x} went?
        may I know where {x} is?
        may I see {x}?
        can I see {x}?
        could I see {x}?
        who can show me {x}?
        who can tell me where {x} is?
        I can't tell where {x} is
        I can't tell which one is {x}
        I can't remember where {x} is
        I forgot where {x} is
        I forgot which one is {x}
        I am not sure where {x} is
        I am not sure which one is {x}
        I want to see {x}
        I'd like to see {x}
        I'd like to know where {x} is
        I'd like to know which one is {x}
        I need to see {x}
        I need the position of {x}
        I wonder which one is {x}
        I was wondering which one is {x}
        I am asking where {x} is
        I ask myself where {x} is
        I have to know where {x} is
        we want to know where {x} is
        we don't know which one is {x}
        nobody knows where {x} is
        my friend asks where {x} is
        my friend wants to see {x}
        the question is where {x} is
        the question is which one is {x}
        if you know where {x} is, tell me
        {x} is where?
        {x} is which one?
        {x}, where has it gone?
        {x}, where did it go?
        {x}, show it to me
        {x}, tell me where it is
        {x}, do you know where it is?
        {x}, its position please
        position: {x}
        """
        )
    ),
}
