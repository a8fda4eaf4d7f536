"""The flow: a frame and a command in, events and one typed result out."""
