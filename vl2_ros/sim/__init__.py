"""The seeded tabletop: MuJoCo frames with exact labels."""
