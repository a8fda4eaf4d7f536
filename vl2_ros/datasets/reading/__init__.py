"""Reading of labelled data: records of large files, images, masks, and a report of what is bad."""
