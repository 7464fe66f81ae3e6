"""RLDS data sets (TFDS TFRecord shards), read without TensorFlow."""

from worldmodel.data.rlds.dataset import RldsEpisode, RldsEpisodes

__all__ = ["RldsEpisode", "RldsEpisodes"]
