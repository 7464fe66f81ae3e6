"""LeRobot data sets, v3.0, v2.1 and v2.0, by episode."""

from worldmodel.data.formats.lerobot.episodes import LeRobotEpisodes

__all__ = ["LeRobotEpisodes"]
