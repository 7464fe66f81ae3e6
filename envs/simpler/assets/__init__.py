"""Asset packs: the geometry and looks that one task definition is built from."""
