"""LeRobot data sets, v3.0 and v2.1: by episode, or whole in memory."""

from worldmodel.data.lerobot.dataset import LeRobotEpisodes
from worldmodel.data.lerobot.trajectories import LeRobot

__all__ = ["LeRobot", "LeRobotEpisodes"]
