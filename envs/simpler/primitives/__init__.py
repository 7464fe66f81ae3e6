"""Asset pack `primitives`: SIMPLER's bodies in boxes, cylinders and spheres, nothing downloaded.

Joints, origins, axes, limits, masses and inertias are the original's (ManiSkill2_real2sim, commit
ef7a4d4), link and joint names too, so the code that loads and drives them is the same for both
packs. Shapes are fitted to the extents of the original's collision hulls.

`drawn=False` leaves out everything that does not collide, for machines that cannot draw.
"""
