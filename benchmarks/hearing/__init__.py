"""Parts of speech.py: sentences, voices, noise, and what a sentence means."""
