"""Commands that hear, the level meter, and spoken questions."""
