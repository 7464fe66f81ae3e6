"""LeRobot data sets, v3.0 and v2.1: by episode, or whole in memory."""

from worldmodel.data.formats.lerobot.episodes import LeRobotEpisodes
from worldmodel.data.formats.lerobot.in_memory import LeRobot

__all__ = ["LeRobot", "LeRobotEpisodes"]
