"""Language processing: prompts from sentences, answers from token ids."""
