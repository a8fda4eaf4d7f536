"""Labels of image tokens: which kind and colour each cell of an image shows, and where centres are."""
