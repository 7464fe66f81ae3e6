"""Planning by imagination: of several chunks, the one that a world model imagines to lead best."""
