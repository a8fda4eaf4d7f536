"""Plain English sentences that give the tokenizer sane pieces for words outside the grammar."""

from __future__ import annotations

ENGLISH_SENTENCES: tuple[str, ...] = tuple(
    line.strip()
    for line in """
    The robot rolled slowly into the kitchen and stopped beside the wooden counter.
    Its camera turned to the left, then to the right, until it saw something interesting.
    Somebody had forgotten a half empty glass of orange juice near the sink this morning.
    When the operator gives a clear instruction, the machine should answer without delay.
    Every morning the workers clean the floor and put the tools back where they belong.
    A good assistant listens carefully, asks a short question and then starts working.
    The gripper opened, moved down, closed again and lifted the heavy metal part.
    Between the two shelves there was just enough space for a person to walk through.
    Please remember to charge the battery before the next experiment begins.
    The children were playing with coloured blocks and a wooden train on the carpet.
    Nobody knew who had left the strange package in front of the laboratory door.
    Light from the window made long shadows behind the bottles and the flowers.
    After lunch we should sort the screws, bolts, nuts and washers into different trays.
    I think the sensor is broken because the image is dark and full of noise.
    Underneath the newspaper she discovered an old photograph of her grandmother.
    The inspector checked whether the label was printed straight and in the right place.
    An engineer explained how the network learns from thousands of simulated images.
    We would like to know whether anything important is missing from the toolbox.
    Everything on the upper shelf belongs to my colleague, so leave it there.
    The warehouse was quiet except for the humming of the conveyor belt.
    Could someone bring another chair, since several visitors are still standing?
    It is difficult to recognise transparent things such as glasses and plastic bags.
    The doctor asked the nurse for clean gloves, a bandage and a thermometer.
    Turn around, go straight ahead for three metres and wait near the elevator.
    Yesterday the weather was terrible, but today the sun is shining brightly.
    This tiny computer is powerful enough to process thirty images each second.
    Before touching the stove make sure that it is switched off and cold.
    The farmer picked ripe tomatoes, cucumbers, peppers and strawberries before noon.
    He carefully placed the violin in its case and closed the lid.
    The quick brown fox jumps over the lazy dog while five wizards box with jugs.
    Whenever the alarm rings, the vehicle must stop immediately and report its position.
    She wondered which of the keys would fit the lock of the garden house.
    Our customers often ask about delivery times, prices and the quality of materials.
    There were pencils, markers, erasers and sheets of paper all over the desk.
    The drone circled above the harbour and photographed ships, cranes and containers.
    Please do not stack fragile objects on top of each other.
    The student measured the distance between the markers and wrote down the result.
    Without enough training data the model confuses similar looking categories.
    In the corner stood a tall plant with broad green leaves and small white flowers.
    They repaired the bicycle with a wrench, some grease and a new chain.
    Thank you for waiting, your order will be ready in about ten minutes.
    The security guard noticed movement at the far end of the parking area.
    Grandfather keeps his reading glasses, his pipe and a magnifying glass in that drawer.
    First rinse the dishes with warm water, then load them into the dishwasher.
    The scientist looked through the microscope and counted the cells again.
    I cannot understand the question, would you please repeat it more slowly?
    Almost all of the remaining parts are made of aluminium, steel or ceramic.
    He asked me to underline the words, circle the numbers and cross out mistakes.
    Suddenly the lamp fell from the table, but luckily nothing was damaged.
    You may use the larger screwdriver if the smaller one does not turn.
    The museum displays ancient coins, jewellery, helmets and swords from many countries.
    Quietly the cat walked along the edge of the roof and watched the pigeons.
    Let me explain the procedure once more, starting from the very beginning.
    The image shows a street with cars, buses, cyclists, pedestrians and traffic lights.
    During the inspection the team found cracks, scratches and loose connections.
    Fresh bread, butter, honey and jam were waiting for the hungry travellers.
    What happens if the command is interrupted while the arm is still moving?
    The teacher handed out scissors, glue, cardboard and coloured paper to everyone.
    Perhaps tomorrow we can finish painting the fence behind the workshop.
    The shopping list includes milk, cheese, eggs, rice, noodles, onions and garlic.
    Anyone who enters the area has to wear safety shoes and a yellow jacket.
    A second later the display showed a warning message in large red letters.
    Move the joystick forward to raise the platform and backward to lower it.
    The answer should be short, friendly and easy to understand for everybody.
    Good evening, is there perhaps some coffee left in the machine over there?
    """.strip().splitlines()
)
