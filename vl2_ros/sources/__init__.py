"""Images from files, folders, videos, webcams and streams, one at a time."""
