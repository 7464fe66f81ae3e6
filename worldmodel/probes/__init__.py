"""What a representation knows: linear probes by layer, and whether the loss can teach anything."""
