"""Sources of training samples: one file for each form in which labelled data comes."""
