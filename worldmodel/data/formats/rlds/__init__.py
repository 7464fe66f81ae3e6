"""RLDS data sets (TFDS TFRecord shards), read without TensorFlow."""

from worldmodel.data.formats.rlds.episodes import RldsEpisode, RldsEpisodes

__all__ = ["RldsEpisode", "RldsEpisodes"]
