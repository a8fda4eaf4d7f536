"""Speech: sound in, sentences with a score and what they ask for out."""
