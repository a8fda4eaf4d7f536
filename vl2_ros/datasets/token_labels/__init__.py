"""Labels of image tokens: which kind and colour each cell shows, and where centres are."""
