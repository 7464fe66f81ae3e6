"""The video Self-Flow world model: a flow-matching transformer with one time for each token.

Time convention, here and in every module below: t = 1 is noise, t = 0 is data.
"""
