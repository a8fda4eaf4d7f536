"""Output of the commands: answers, formats, overlays, the report of the demo."""
