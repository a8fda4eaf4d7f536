"""The seeded household: rooms and yards of textured models of things that photos have as well."""
